// A rectangle on the image: drawn, moved and changed with pointer or keys.
import { around, within } from "./iiif.js";

const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const STEP = 10; // pixels of the screen for one press of an arrow key

export class Picker extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.region = null;
    this.layer = document.createElement("div");
    this.layer.className = "picking";
    this.layer.hidden = true;
    this.box = document.createElement("div");
    this.box.className = "picked";
    this.box.tabIndex = 0;
    this.box.hidden = true;
    this.box.setAttribute("role", "group");
    this.box.setAttribute("aria-label", "Selected region. Arrow keys move it; with Shift they resize it");
    for (const edge of EDGES) {
      const handle = document.createElement("span");
      handle.className = "handle";
      handle.dataset.edge = edge;
      this.box.append(handle);
    }
    this.layer.append(this.box);
    stage.element.append(this.layer);
    stage.addEventListener("moved", () => this.#place());
    this.layer.addEventListener("pointerdown", (event) => this.#begin(event));
    this.layer.addEventListener("wheel", (event) => this.#zoom(event), { passive: false });
    this.box.addEventListener("keydown", (event) => this.#key(event));
  }

  get active() {
    return !this.layer.hidden;
  }

  /** Lets the pointer draw, or gives it back to the image. */
  activate(active) {
    this.layer.hidden = !active;
    this.#place();
  }

  /** Chooses a region, in pixels of the image. */
  choose(region) {
    this.region = within(region, this.stage.image);
    this.#place();
    this.dispatchEvent(new Event("chosen"));
  }

  /** Chooses what is seen of the image now. */
  chooseVisible() {
    const { clientWidth, clientHeight } = this.stage.element;
    this.choose(this.#onImage({ x: 0, y: 0, w: clientWidth, h: clientHeight }));
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const start = this.#point(event);
    const edge = event.target.dataset.edge;
    const before = this.#onScreen();
    const moving = event.target === this.box;
    this.layer.setPointerCapture(event.pointerId);
    const move = (moved) => {
      const now = this.#point(moved);
      const by = { x: now.x - start.x, y: now.y - start.y };
      if (edge) this.choose(this.#onImage(resized(before, edge, by)));
      else if (moving) this.choose(this.#onImage({ ...before, x: before.x + by.x, y: before.y + by.y }));
      else if (Math.hypot(by.x, by.y) > 3) this.choose(this.#onImage(around(start, now)));
    };
    const end = () => {
      this.layer.removeEventListener("pointermove", move);
      this.dispatchEvent(new Event("drawn"));
    };
    this.layer.addEventListener("pointermove", move);
    this.layer.addEventListener("lostpointercapture", end, { once: true });
  }

  #zoom(event) {
    event.preventDefault();
    this.stage.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }

  #key(event) {
    const across = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key] ?? 0;
    const down = { ArrowUp: -STEP, ArrowDown: STEP }[event.key] ?? 0;
    if (!across && !down) return;
    event.preventDefault();
    event.stopPropagation();
    const box = this.#onScreen();
    if (event.shiftKey) Object.assign(box, resized(box, "se", { x: across, y: down }));
    else Object.assign(box, { x: box.x + across, y: box.y + down });
    this.choose(this.#onImage(box));
  }

  #point(event) {
    const { left, top } = this.layer.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #onImage({ x, y, w, h }) {
    return around(this.stage.toImage(x, y), this.stage.toImage(x + w, y + h));
  }

  #onScreen() {
    if (!this.region) return null;
    const { x, y, w, h } = this.region;
    return around(this.stage.toElement(x, y), this.stage.toElement(x + w, y + h));
  }

  #place() {
    this.box.hidden = !this.region;
    if (!this.region || this.layer.hidden) return;
    const { x, y, w, h } = this.#onScreen();
    this.box.style.transform = `translate(${x}px, ${y}px)`;
    this.box.style.width = `${w}px`;
    this.box.style.height = `${h}px`;
  }
}

/** A box with one of its edges or corners moved. */
function resized({ x, y, w, h }, edge, by) {
  const one = { x: x + (edge.includes("w") ? by.x : 0), y: y + (edge.includes("n") ? by.y : 0) };
  const other = { x: x + w + (edge.includes("e") ? by.x : 0), y: y + h + (edge.includes("s") ? by.y : 0) };
  return around(one, other);
}
