// Reads an array of info.json documents; writes, for each, every tile that OpenSeadragon would ask
// for: its URL, and the width and height of the image that OpenSeadragon expects there.
const { JSDOM, VirtualConsole } = require("jsdom");

const { window } = new JSDOM("<!doctype html>", {
  pretendToBeVisual: true,
  virtualConsole: new VirtualConsole(), // jsdom has no canvas, and says so at length
});
for (const name of ["window", "self", "document", "navigator", "Image", "HTMLElement"]) {
  const value = name === "window" || name === "self" ? window : window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
const OpenSeadragon = require("openseadragon");

function tiles(information) {
  // As when it has fetched them: this finds out which version of the Image API they are in.
  const configured = OpenSeadragon.IIIFTileSource.prototype.configure(information, "", "");
  const source = new OpenSeadragon.IIIFTileSource(configured);
  source.ready = true;
  const found = [];
  for (let level = source.minLevel; level <= source.maxLevel; level += 1) {
    const scale = source.getLevelScale(level);
    const whole = { width: source.width * scale, height: source.height * scale };
    const count = source.getNumTiles(level);
    for (let x = 0; x < count.x; x += 1) {
      for (let y = 0; y < count.y; y += 1) {
        const bounds = source.getTileBounds(level, x, y); // in units of the image's width
        found.push({
          level,
          url: source.getTileUrl(level, x, y),
          width: bounds.width * whole.width,
          height: bounds.height * whole.width,
        });
      }
    }
  }
  return found;
}

let input = "";
process.stdin.on("data", (chunk) => { input += chunk; });
process.stdin.on("end", () => {
  process.stdout.write(JSON.stringify(JSON.parse(input).map(tiles)), () => process.exit(0));
});
