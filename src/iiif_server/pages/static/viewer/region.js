// The panel of the region: numbers in, an address out.
import { imageAddress, largest, within } from "./iiif.js";

const LONGEST = [2400, 1200, 600, 300];
const FIELDS = ["x", "y", "w", "h"];

const at = (id) => document.getElementById(`region-${id}`);

export class RegionPanel {
  constructor(stage, picker, announce) {
    this.stage = stage;
    this.picker = picker;
    this.announce = announce;
    at("format").replaceChildren(...stage.image.formats.map((name) => new Option(name.toUpperCase(), name)));
    for (const name of FIELDS) {
      const whole = name === "x" || name === "w" ? stage.image.width : stage.image.height;
      at(name).max = String(name === "x" || name === "y" ? whole - 1 : whole);
      at(name).addEventListener("change", () => this.#read());
    }
    for (const name of ["size", "format", "turned"]) at(name).addEventListener("change", () => this.update());
    at("visible").addEventListener("click", () => picker.chooseVisible());
    at("form").addEventListener("submit", (event) => event.preventDefault());
    picker.addEventListener("chosen", () => this.#chosen());
    picker.addEventListener("drawn", () => announce(`Region of ${this.#extent()} pixels`));
  }

  /** Writes the address anew. */
  update() {
    const { region } = this.picker;
    if (!region) return;
    const shown = at("turned").checked ? this.stage.shown : {};
    const parts = { ...shown, region, size: at("size").value, format: at("format").value };
    const address = imageAddress(this.stage.image.id, parts);
    at("address").value = address;
    at("open").href = imageAddress(this.stage.image.address, parts);
  }

  #chosen() {
    const { region } = this.picker;
    for (const name of FIELDS) at(name).value = String(region[name]);
    this.#offerSizes(region);
    at("result").textContent = `${this.#extent()} pixels of the original`;
    this.update();
  }

  #offerSizes({ w, h }) {
    const chosen = at("size").value;
    const most = largest(this.stage.image.limits, w, h);
    const options = [new Option(`${most.width} × ${most.height}`, "max")];
    for (const side of LONGEST) {
      if (side < Math.max(most.width, most.height)) options.push(new Option(`${side} px at most`, `!${side},${side}`));
    }
    at("size").replaceChildren(...options);
    if (options.some(({ value }) => value === chosen)) at("size").value = chosen;
  }

  #read() {
    const [x, y, w, h] = FIELDS.map((name) => at(name).valueAsNumber);
    if ([x, y, w, h].some(Number.isNaN)) return;
    this.picker.choose(within({ x, y, w, h }, this.stage.image));
  }

  #extent() {
    const { region } = this.picker;
    return region ? `${region.w.toLocaleString("en")} × ${region.h.toLocaleString("en")}` : "no";
  }
}
