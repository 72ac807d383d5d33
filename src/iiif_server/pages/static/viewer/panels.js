// What stands beside the image: at most one panel is open.

const NAMES = ["about", "region", "download", "compare", "share"];

export class Panels extends EventTarget {
  constructor() {
    super();
    this.open = null;
    for (const name of NAMES) {
      document.getElementById(`show-${name}`).addEventListener("click", () => this.toggle(name));
    }
  }

  /** Opens a panel, or closes it. */
  toggle(name) {
    this.show(this.open === name ? null : name);
  }

  /** Opens this panel and no other; null closes what is open. */
  show(name) {
    const before = this.open;
    const within = before && document.getElementById(before).contains(document.activeElement);
    this.open = name;
    for (const each of NAMES) {
      document.getElementById(each).hidden = each !== name;
      document.getElementById(`show-${each}`).setAttribute("aria-expanded", String(each === name));
    }
    document.body.classList.toggle("with-panel", name !== null);
    if (name === null && within) document.getElementById(`show-${before}`).focus();
    this.dispatchEvent(new Event("change"));
  }
}
