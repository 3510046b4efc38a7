"""The look of the page, and the few lines of script that let a finger paint."""

from __future__ import annotations

from visual_echoes.layout import Layout

CSS = """
.gradio-container { max-width: 70rem !important; margin: 0 auto !important; }
.status, .problem { margin: 0.3rem 0; font-size: 1rem; }
.problem { padding: 0.6rem 0.8rem; border-left: 0.3rem solid #c2334d; background: #c2334d22; border-radius: 0.3rem; }
.live { display: flex; flex-wrap: wrap; gap: 1rem; }
.live figure, .cards figure, .seen figure { margin: 0; min-width: 0; }
.live figcaption, .cards figcaption, .seen figcaption { font-size: 0.82rem; opacity: 0.8; }
.grids { display: flex; gap: 0.4rem; height: 7rem; }
.grid { height: 100%; image-rendering: pixelated; border-radius: 0.3rem; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1rem; padding: 0;
  list-style: none;
}
.card { border: 1px solid var(--border-color-primary); border-radius: 0.8rem; padding: 0.8rem; min-width: 0; }
.card h3 { margin: 0 0 0.5rem; font-size: 1rem; }
.views { display: grid; grid-template-columns: 1fr 1fr; gap: 0.6rem; }
.views img, .seen img { display: block; width: 100%; aspect-ratio: 1; border-radius: 0.5rem; background: #07072a; }
img.image { object-fit: contain; image-rendering: pixelated; }
.card audio { width: 100%; margin-top: 0.6rem; }
.downloads { display: flex; gap: 0.5rem; margin: 0.6rem 0 0; }
.downloads a { padding: 0.2rem 0.7rem; border: 1px solid var(--border-color-primary); border-radius: 1rem; }
.card .note { margin: 0.4rem 0 0; font-size: 0.82rem; opacity: 0.8; }
.state { padding: 0 0.4em; border-radius: 0.35em; font-weight: 600; }
.given .state { background: #3d4a7833; } .made .state { background: #a2295f33; }
.seen { max-width: 14rem; position: relative; }
.seen .stretch { position: relative; }
.seen .mark { position: absolute; top: 0; bottom: 0; background: #ffd23f66; border: 2px solid #ffd23f; }
.paint [data-testid=checkbox-group] {
  display: grid !important; gap: 0 !important; max-width: 22rem; aspect-ratio: 1; touch-action: none;
  background-color: #07072a; background-size: 100% 100%; image-rendering: pixelated; border-radius: 0.5rem;
}
.paint [data-testid=checkbox-group] label {
  padding: 0 !important; margin: 0 !important; min-width: 0; border-radius: 0 !important;
  background: transparent !important; border: 1px solid #ffffff30 !important; box-shadow: none !important;
}
.paint [data-testid=checkbox-group] label span {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
}
.paint [data-testid=checkbox-group] input { width: 100%; height: 100%; margin: 0; opacity: 0; cursor: crosshair; }
.paint [data-testid=checkbox-group] label:has(input:checked) { background: #ffd23f99 !important; }
.paint [data-testid=checkbox-group] label:has(input:focus-visible) {
  outline: 3px solid #a2295f; outline-offset: -3px;
}
"""

# A stroke gives every token it passes the state that the first one takes. A click alone is the browser's own.
HEAD = """<script>
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
    if (stroke && event.isTrusted && token(event.target)) event.preventDefault();  // a stroke that came back
  }, true);
})();
</script>"""


def paint_style(layout: Layout, background: str | None) -> str:
    """How the tokens to paint on lie: in the columns of their grid, over an image (a data URI) if there is one."""
    columns = layout.image_grid[1]
    image = f'background-image: url("{background}");' if background else ""
    grid = ".paint [data-testid=checkbox-group]"
    return f"<style>{grid} {{ grid-template-columns: repeat({columns}, 1fr); {image} }}</style>"
