// Code to copy into other web pages. The URLs are the public ones of info.json.

const WIDTH = 800; // of the frame, in CSS pixels
const HEIGHT = 600;

const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
// In a script element, a `<` in a string could end it.
const literal = (text) => JSON.stringify(text).replaceAll("<", "\\u003c");

/** HTML of a frame with the image and nothing around it. */
export function iframeCode(id, label) {
  return `<iframe src="${escaped(id)}/embed" title="${escaped(label)}" width="${WIDTH}" height="${HEIGHT}" style="border: 0" allow="fullscreen" loading="lazy"></iframe>`;
}

/** HTML that shows the image with OpenSeadragon, whose script is at this URL. */
export function openSeadragonCode(id, script) {
  return `<div id="iiif-image" style="width: 100%; height: ${HEIGHT}px"></div>
<script src="${escaped(script)}"></script>
<script>
  OpenSeadragon({
    id: "iiif-image",
    tileSources: ${literal(`${id}/info.json`)},
    showNavigationControl: false,
  });
</script>`;
}

/** Fills the panel in; `id` is the image's public URI, `root` leads from its page to the server's. */
export function fillSharePanel(id, label, root) {
  const at = (name) => document.getElementById(name);
  const script = new URL(`${root}_:pages/latest/openseadragon/openseadragon.min.js`, `${id}/view`);
  at("share-page").value = `${id}/view`;
  at("share-openseadragon").value = openSeadragonCode(id, script.href);
  if (at("share-iframe")) at("share-iframe").value = iframeCode(id, label);
}
