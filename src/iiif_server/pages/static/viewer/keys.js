// What the keyboard does, wherever the focus is but in a field.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Sends keys to actions by name; arrow keys move only while an image or nothing has the focus. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("dialog[open]")) return;
    if (event.key === "Escape") {
      actions.escape();
      return;
    }
    if (event.target.closest("input, select, textarea")) return;
    const arrow = ARROWS[event.key];
    const free = event.target === document.body || event.target.closest(".stage");
    if (arrow && free) actions.pan(...arrow, event.shiftKey);
    else if (!arrow && actions.keys[event.key]) actions.keys[event.key]();
    else return;
    event.preventDefault();
  });
}
