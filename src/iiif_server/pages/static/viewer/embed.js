// The viewer in a frame of another page: one image, and buttons for it.
import { listen } from "./keys.js";
import { here, load } from "./loading.js";
import { Stage } from "./stage.js";
import { turningKeys } from "./turning.js";

const at = (id) => document.getElementById(id);

function fail(text) {
  at("failure").textContent = text;
  at("failure").hidden = false;
}

async function start() {
  const stage = new Stage(at("stage"), await load(here()));
  const actions = {
    "zoom-in": () => stage.zoomBy(1.5),
    "zoom-out": () => stage.zoomBy(1 / 1.5),
    whole: () => stage.whole(),
    fill: () => document.fullscreenEnabled && (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  };
  at("fill").hidden = !document.fullscreenEnabled; // the page around it decides
  for (const [id, action] of Object.entries(actions)) at(id).addEventListener("click", action);
  listen({
    pan: (...how) => stage.pan(...how),
    escape: () => {},
    keys: {
      ...turningKeys(),
      "+": actions["zoom-in"],
      "=": actions["zoom-in"],
      "-": actions["zoom-out"],
      0: actions.whole,
      1: () => stage.full(),
      f: actions.fill,
    },
  });
  stage.addEventListener("failed", () => fail("Some tiles could not be loaded. Move the image to try again."));
  await stage.opened;
}

start().catch((error) => fail(error.message));
