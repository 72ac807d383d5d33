// The viewer: puts the parts on the page together.
import { enableCopying } from "./copying.js";
import { DownloadPanel } from "./download.js";
import { encoded } from "./iiif.js";
import { listen } from "./keys.js";
import { here, load } from "./loading.js";
import { Pair } from "./pair.js";
import { Panels } from "./panels.js";
import { Picker } from "./picker.js";
import { RegionPanel } from "./region.js";
import { fillSharePanel } from "./sharing.js";
import { Stage } from "./stage.js";
import { turningKeys } from "./turning.js";

const QUALITIES = { default: "Original", color: "Colour", gray: "Gray", bitonal: "Black and white" };
const WITH_PANEL = 720; // pixels of width from which a panel leaves room for the image

const at = (id) => document.getElementById(id);
const page = document.body.dataset;
const root = new URL(page.root, location.href);

function announce(text) {
  at("announcements").textContent = "";
  requestAnimationFrame(() => { at("announcements").textContent = text; });
}

function fail(text) {
  at("failure").textContent = text;
  at("failure").hidden = false;
}

function qualityButtons(offered, choose) {
  // "default" and "color" are the same picture, and only the first lies ready in tiles.
  const rest = offered.filter((name) => name in QUALITIES && name !== "color");
  const first = offered.includes("color") && !("gray" in page) ? QUALITIES.color : QUALITIES.default;
  for (const name of ["default", ...rest]) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "quality", value: name, checked: name === "default" });
    input.addEventListener("change", () => choose(name));
    label.append(input, name === "default" ? first : QUALITIES[name]);
    at("qualities").append(label);
  }
}

function showOther(name, other) {
  const rows = [["Compared with", name], ["Dimensions", `${other.width.toLocaleString("en")} × ${other.height.toLocaleString("en")} pixels`]];
  if (other.rights) rows.push(["Rights", other.rights]);
  const parts = rows.flatMap(([term, text]) => {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = text;
    return [dt, dd];
  });
  at("other-facts").replaceChildren(...parts);
  at("comparing").hidden = false;
}

async function start() {
  const first = await load(here());
  at("info-address").value = `${first.id}/info.json`;
  at("manifest-address").value = `${first.id}/manifest.json`;
  fillSharePanel(first.id, at("about-title").textContent, page.root);
  const stage = new Stage(at("stage"), first);
  const stages = [stage];
  const panels = new Panels();
  const picker = new Picker(stage);
  const region = new RegionPanel(stage, picker, announce);
  const download = new DownloadPanel(stage);
  enableCopying(announce);

  const all = (action) => stages.forEach(action);
  const changed = () => {
    region.update();
    download.update();
  };
  const actions = {
    "zoom-in": () => stage.zoomBy(1.5),
    "zoom-out": () => stage.zoomBy(1 / 1.5),
    whole: () => all((each) => each.whole()),
    full: () => stage.full(),
    "turn-left": () => { all((each) => each.turn(-90)); changed(); announce(`Rotated to ${stage.degrees} degrees`); },
    "turn-right": () => { all((each) => each.turn(90)); changed(); announce(`Rotated to ${stage.degrees} degrees`); },
    mirror: () => {
      all((each) => each.mirror());
      at("mirror").setAttribute("aria-pressed", String(stage.mirrored));
      changed();
      announce(stage.mirrored ? "Mirrored" : "Not mirrored");
    },
    fill: () => document.fullscreenEnabled && (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
    help: () => at("keys").showModal(),
  };
  at("fill").hidden = !document.fullscreenEnabled; // telephones may have no such thing
  at("mirror").setAttribute("aria-pressed", "false");
  for (const [id, action] of Object.entries(actions)) at(id).addEventListener("click", action);

  qualityButtons(first.qualities, (name) => {
    all((each) => each.recolour(name).catch((error) => fail(error.message)));
    changed();
  });

  panels.addEventListener("change", () => {
    picker.activate(panels.open === "region");
    if (panels.open === "region" && !picker.region) announce("Drag a rectangle on the image");
  });

  listen({
    pan: (...how) => (document.activeElement === at("other") ? stages[1] : stage).pan(...how),
    escape: () => panels.show(null),
    keys: {
      ...turningKeys(),
      "+": actions["zoom-in"],
      "=": actions["zoom-in"],
      "-": actions["zoom-out"],
      0: actions.whole,
      1: actions.full,
      r: actions["turn-right"],
      R: actions["turn-left"],
      m: actions.mirror,
      q: () => nextQuality(),
      f: actions.fill,
      i: () => panels.toggle("about"),
      s: () => panels.toggle("region"),
      d: () => panels.toggle("download"),
      c: () => panels.toggle("compare"),
      e: () => panels.toggle("share"),
      "?": actions.help,
    },
  });

  stage.addEventListener("moved", () => {
    const percent = stage.scale * devicePixelRatio * 100;
    at("zoom").textContent = percent ? `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %` : "";
  });
  stage.addEventListener("failed", () => fail("Some tiles could not be loaded. Move the image to try again."));
  await stage.opened;
  const name = new URLSearchParams(location.search).get("with");
  if (name) await compare(name, stages);
  else if (innerWidth >= WITH_PANEL) panels.show("about");
}

function nextQuality() {
  const inputs = [...document.querySelectorAll("input[name=quality]")];
  const next = inputs[(inputs.findIndex(({ checked }) => checked) + 1) % inputs.length];
  next.click();
  announce(next.parentElement.textContent);
}

async function compare(name, stages) {
  at("with").value = name;
  const other = await load(new URL(encoded(name).replace(/^\/*/, "./"), root).href);
  at("other").hidden = false;
  document.body.classList.add("comparing");
  const second = new Stage(at("other"), other);
  await second.opened;
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  stages[0].whole(true); // it has half the room now
  second.whole(true);
  stages.push(second);
  const pair = new Pair(stages[0], second);
  at("linked").addEventListener("change", ({ target }) => pair.link(target.checked));
  showOther(name, other);
}

start().catch((error) => fail(error.message));
