// A stroke gives every token it passes the state that the first one takes. A click alone is the browser's own.
(() => {
  let first = null, wanted = false, stroke = false;
  const token = (target) => target instanceof Element ? target.closest(".paint label")?.querySelector("input") : null;
  const set = (input) => { if (input.checked !== wanted) input.click(); };
  document.addEventListener("pointerdown", (event) => {
    first = token(event.target);
    stroke = false;
    if (first) { wanted = !first.checked; event.target.releasePointerCapture(event.pointerId); }
  });
  document.addEventListener("pointerover", (event) => {
    const input = token(event.target);
    if (!first || !input || !(event.buttons & 1) || (input === first && !stroke)) return;
    stroke = true;
    set(first); set(input);
  });
  document.addEventListener("pointerup", () => { first = null; setTimeout(() => { stroke = false; }); });
  document.addEventListener("click", (event) => {
    // Clicks of the mouse count (detail), those of a key do not: a stroke that came back is none, Space always is one.
    if (stroke && event.isTrusted && event.detail && token(event.target)) event.preventDefault();
  }, true);
})();
