// The info.json of an image.
import { image } from "./iiif.js";

/** The image whose info.json is below this URL. */
export async function load(address) {
  const answer = await fetch(`${address}/info.json`, { headers: { Accept: "application/json" } });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `The server answered with status ${answer.status}.`);
  return image(content, address);
}

/** The URL of the image on whose page this is, without the page's last segment. */
export function here() {
  return new URL(".", location.href).href.replace(/\/$/, "");
}
