// One image on the wall: OpenSeadragon, and what the rest of the viewer has to know of it.
import { imageAddress, rotation } from "./iiif.js";

const OpenSeadragon = window.OpenSeadragon;

const GESTURES = {
  clickToZoom: false,
  dblClickToZoom: true,
  flickEnabled: true,
  pinchRotate: false,
};
const MOST = 4; // screen pixels for one of the image's
const AROUND = 0.02; // of the image's width or height, on each side
const PAN = 80; // screen pixels for one press of an arrow key

// OpenSeadragon writes a style into the page (no outline on touch screens) unless it finds one that
// is marked like this. Our policy lets nobody do that, and viewer.css says the same; so this is an
// element of no meaning that only has the name.
const style = document.createElementNS("urn:nothing", "style");
style.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(style);

export class Stage extends EventTarget {
  /** Shows an image in an element; `image` is what `iiif.image` has made. */
  constructor(element, image) {
    super();
    this.element = element;
    this.image = image;
    this.quality = "default";
    this.osd = new OpenSeadragon.Viewer({
      element,
      tileSources: this.#source(),
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "TOP_LEFT",
      navigatorSizeRatio: 0.14,
      navigatorMaintainSizeRatio: true,
      navigatorAutoFade: false,
      navigatorBackground: "transparent",
      navigatorBorderColor: "transparent",
      navigatorDisplayRegionColor: "#d9773f",
      keyboardNavEnabled: false, // keys.js, for both images and wherever the focus is
      gestureSettingsMouse: GESTURES,
      gestureSettingsTouch: GESTURES,
      gestureSettingsPen: GESTURES,
      gestureSettingsUnknown: GESTURES,
      maxZoomPixelRatio: MOST,
      minZoomImageRatio: 0.8,
      visibilityRatio: 0.3,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.7,
      springStiffness: 8,
      tileRetryMax: 2, // a server that is busy says so
      tileRetryDelay: 3000,
      timeout: 120000,
    });
    // What can be reached by Tab is the stage itself, which has a label.
    for (const inner of element.querySelectorAll("[tabindex]")) inner.tabIndex = -1;
    element.osd = this.osd;
    this.untouched = true;
    this.opened = new Promise((resolve, reject) => {
      this.osd.addOnceHandler("open", () => {
        this.whole(true);
        resolve();
      });
      this.osd.addOnceHandler("open-failed", ({ message }) => reject(new Error(message)));
    });
    for (const name of ["update-viewport", "rotate", "flip", "resize", "open"]) {
      this.osd.addHandler(name, () => {
        element.classList.toggle("untouched", this.untouched);
        this.dispatchEvent(new Event("moved"));
      });
    }
    // As long as nobody has moved it, the whole image stays whole, however large its place is.
    for (const name of ["canvas-drag", "canvas-scroll", "canvas-pinch", "canvas-double-click"]) {
      this.osd.addHandler(name, () => { this.untouched = false; });
    }
    this.osd.addHandler("after-resize", () => queueMicrotask(() => this.#fit()));
    this.osd.addHandler("tile-load-failed", () => this.dispatchEvent(new Event("failed")));
  }

  get viewport() {
    return this.osd.viewport;
  }

  /** Degrees clockwise, 0 to 359, as they will be once all has come to rest. */
  get degrees() {
    return ((Math.round(this.viewport.getRotation()) % 360) + 360) % 360;
  }

  get mirrored() {
    return this.viewport.getFlip();
  }

  /** Rotation parameter and quality of what is shown. */
  get shown() {
    return { turn: rotation(this.degrees, this.mirrored), quality: this.quality };
  }

  /** Screen pixels for one of the image's. */
  get scale() {
    return this.osd.world.getItemAt(0)?.viewportToImageZoom(this.viewport.getZoom(true)) ?? 0;
  }

  zoomBy(factor) {
    this.untouched = false;
    this.viewport.zoomBy(factor);
    this.viewport.applyConstraints();
  }

  /** Shows all of the image, with a little of the wall around it. */
  whole(immediately = false) {
    this.untouched = true;
    const { x, y, width, height } = this.viewport.getHomeBounds();
    const [left, top] = [width * AROUND, height * AROUND];
    const room = new OpenSeadragon.Rect(x - left, y - top, width + 2 * left, height + 2 * top);
    this.viewport.fitBounds(room, immediately);
  }

  full() {
    this.untouched = false;
    this.viewport.zoomTo(this.osd.world.getItemAt(0).imageToViewportZoom(1 / devicePixelRatio));
  }

  #fit() {
    if (!this.untouched) return;
    this.whole(true);
    this.dispatchEvent(new Event("fitted"));
  }

  /** Moves by steps to the right and down, as the screen has them. */
  pan(across, down, far = false) {
    this.untouched = false;
    const { x, y } = this.viewport.getContainerSize();
    const step = { x: far ? x * 0.8 : PAN, y: far ? y * 0.8 : PAN };
    const mirrored = this.mirrored ? -1 : 1;
    const by = new OpenSeadragon.Point(across * step.x * mirrored, down * step.y);
    this.viewport.panBy(this.viewport.deltaPointsFromPixels(by));
    this.viewport.applyConstraints();
  }

  turn(degrees) {
    // Mirrored, the screen turns the other way than the image does.
    const by = this.mirrored ? -degrees : degrees;
    this.viewport.setRotation(this.viewport.getRotation() + by);
  }

  mirror() {
    this.viewport.toggleFlip();
  }

  /** Shows the image in another quality; it stays where it is. */
  recolour(quality) {
    this.quality = quality;
    const item = this.osd.world.getItemAt(0);
    return new Promise((resolve, reject) => {
      this.osd.addTiledImage({
        tileSource: this.#source(),
        index: 0,
        replace: Boolean(item),
        success: resolve,
        error: ({ message }) => reject(new Error(message)),
      });
    });
  }

  /** The point of the image at a point of the element, both in pixels. */
  toImage(x, y) {
    const across = this.mirrored ? this.viewport.getContainerSize().x - x : x;
    const point = new OpenSeadragon.Point(across, y);
    return this.osd.world.getItemAt(0).viewerElementToImageCoordinates(point);
  }

  /** The point of the element at a point of the image. */
  toElement(x, y) {
    const point = this.osd.world
      .getItemAt(0)
      .imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
    if (this.mirrored) point.x = this.viewport.getContainerSize().x - point.x;
    return point;
  }

  #source() {
    const { address, width, height, tiles } = this.image;
    return {
      "@context": "http://iiif.io/api/image/3/context.json",
      id: address, // where this page has come from, whatever the public address is
      type: "ImageService3",
      protocol: "http://iiif.io/api/image",
      profile: "level2",
      width,
      height,
      tiles,
      tileQuality: this.quality,
      extraQualities: this.image.qualities,
    };
  }

  /** The address of all of it, small, for whoever has to name it. */
  get thumbnail() {
    return imageAddress(this.image.address, { size: "!200,200" });
  }
}
