// A stroke gives every token it passes the state that the first one takes. A click alone is the browser's own.
(() => {
  let first = null, wanted = false, stroke = false, last = null;
  const STEP = 4; // pixels, far less than a token is wide
  const token = (target) => target instanceof Element ? target.closest(".paint label")?.querySelector("input") : null;
  const set = (input) => { if (input.checked !== wanted) input.click(); };
  document.addEventListener("pointerdown", (event) => {
    first = token(event.target);
    stroke = false;
    last = event;
    if (first) { wanted = !first.checked; event.target.releasePointerCapture(event.pointerId); }
  });
  document.addEventListener("pointermove", (event) => {
    if (!first || !(event.buttons & 1)) return;
    // A quick finger or a busy browser leaves tokens out between two events, so the way from one to the next is walked.
    const [x, y] = [event.clientX - last.clientX, event.clientY - last.clientY];
    const steps = Math.max(1, Math.ceil(Math.hypot(x, y) / STEP));
    for (let step = 1; step <= steps; step++) {
      const there = [last.clientX + x * step / steps, last.clientY + y * step / steps];
      const input = token(document.elementFromPoint(...there));
      if (!input || (input === first && !stroke)) continue;
      stroke = true;
      set(first); set(input);
    }
    last = event;
  });
  document.addEventListener("pointerup", () => { first = null; setTimeout(() => { stroke = false; }); });
  document.addEventListener("click", (event) => {
    // Clicks of the mouse count (detail), those of a key do not: a stroke that came back is none, Space always is one.
    if (stroke && event.isTrusted && event.detail && token(event.target)) event.preventDefault();
  }, true);
})();
