// A stroke gives every token it passes the state that the first one takes. A click alone is the browser's own.
(() => {
  let first = null, wanted = false, stroke = false, last = null, settling = 0;
  const painted = new Set();
  const STEP = 4; // pixels, far less than a token is wide
  const token = (target) => target instanceof Element ? target.closest(".paint label")?.querySelector("input") : null;
  // Gradio may draw the tokens again from a state that does not know of the last clicks yet, so they are set until it does.
  const set = (input) => { painted.add(input); if (input.checked !== wanted) input.click(); };
  const settle = (times) => {
    clearTimeout(settling);
    painted.forEach(set);
    if (painted.size && times) settling = setTimeout(settle, 100, times - 1);
  };
  const forget = () => painted.clear();
  document.addEventListener("pointerdown", (event) => {
    forget();
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
  document.addEventListener("keydown", forget);
  document.addEventListener("pointerup", () => { first = null; settle(30); setTimeout(() => { stroke = false; }); });
  document.addEventListener("click", (event) => {
    // Clicks of the mouse count (detail), those of a key do not: a stroke that came back is none, Space always is one.
    if (stroke && event.isTrusted && event.detail && token(event.target)) event.preventDefault();
  }, true);
})();
