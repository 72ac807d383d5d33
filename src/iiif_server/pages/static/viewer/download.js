// The panel of downloads: the sizes that lie ready, and the largest that is given.
import { imageAddress, largest } from "./iiif.js";

const at = (id) => document.getElementById(id);

export class DownloadPanel {
  constructor(stage) {
    this.stage = stage;
    at("download-format").replaceChildren(
      ...stage.image.formats.map((name) => new Option(name.toUpperCase(), name)),
    );
    at("download-format").addEventListener("change", () => this.update());
    at("download-turned").addEventListener("change", () => this.update());
    this.update();
  }

  /** Lists what can be had. */
  update() {
    const { image } = this.stage;
    const most = largest(image.limits, image.width, image.height);
    const sizes = image.sizes.filter(({ width }) => width < most.width);
    const rows = [
      ...sizes.map((size) => this.#row(size, `${size.width},${size.height}`)),
      this.#row(most, "max"),
    ];
    at("sizes").replaceChildren(...rows);
    at("download-note").textContent =
      most.width < image.width
        ? `The original has ${image.width.toLocaleString("en")} × ${image.height.toLocaleString("en")} pixels. Sizes above the largest one here are available for regions only.`
        : "The last size is the full resolution.";
  }

  #row(size, parameter) {
    const format = at("download-format").value;
    const shown = at("download-turned").checked ? this.stage.shown : {};
    const link = document.createElement("a");
    link.href = imageAddress(this.stage.image.address, { ...shown, size: parameter, format });
    link.download = ""; // the server names the file
    const extent = `${size.width.toLocaleString("en")} × ${size.height.toLocaleString("en")}`;
    link.textContent = parameter === "max" ? `${extent}, the largest` : extent;
    const row = document.createElement("li");
    row.append(link);
    return row;
  }
}
