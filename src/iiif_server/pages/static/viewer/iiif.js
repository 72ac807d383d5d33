// The Image API 3.0 as far as the viewer speaks it. Pure.

const LEVEL_2_FORMATS = ["jpg", "png"];

/** What an info.json offers; `address` is where it was asked for, without its last part. */
export function image(info, address) {
  const { width, height } = info;
  return {
    width,
    height,
    address,
    id: info.id ?? address,
    tiles: info.tiles,
    sizes: [...(info.sizes ?? [])].sort((one, other) => one.width - other.width),
    formats: [...new Set([...LEVEL_2_FORMATS, ...(info.extraFormats ?? [])])],
    qualities: info.extraQualities ?? [],
    limits: {
      width: info.maxWidth ?? Infinity,
      height: info.maxHeight ?? info.maxWidth ?? Infinity,
      area: info.maxArea ?? Infinity,
    },
    rights: info.rights,
  };
}

/** The size that `max` stands for: that of the region, or the largest that is given. */
export function largest(limits, width, height) {
  const scale = Math.min(
    1,
    limits.width / width,
    limits.height / height,
    Math.sqrt(limits.area / (width * height)),
  );
  if (scale === 1) return { width, height };
  return { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
}

/** How far an image is turned, as the specification writes it: mirrored first, then turned. */
export function rotation(degrees, mirrored) {
  const turn = (((mirrored ? -degrees : degrees) % 360) + 360) % 360;
  return `${mirrored ? "!" : ""}${turn}`;
}

/** The address of an image: a region `{x, y, w, h}` or null for all of it. */
export function imageAddress(id, { region = null, size = "max", turn = "0", quality = "default", format = "jpg" }) {
  const part = region ? [region.x, region.y, region.w, region.h].join(",") : "full";
  return `${id}/${part}/${size}/${turn}/${quality}.${format}`;
}

/** A region in whole pixels that lies in the image, and has one pixel at least. */
export function within(region, { width, height }) {
  const left = Math.min(Math.max(0, Math.round(region.x)), width - 1);
  const top = Math.min(Math.max(0, Math.round(region.y)), height - 1);
  const right = Math.min(Math.max(left + 1, Math.round(region.x + region.w)), width);
  const bottom = Math.min(Math.max(top + 1, Math.round(region.y + region.h)), height);
  return { x: left, y: top, w: right - left, h: bottom - top };
}

/** The box around two points. */
export function around(one, other) {
  return {
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    w: Math.abs(one.x - other.x),
    h: Math.abs(one.y - other.y),
  };
}

/** The path of an identifier as a person writes it; slashes and the colon stay. */
export function encoded(identifier) {
  return identifier.split("/").map(encodeURIComponent).join("/").replace("%3A", ":");
}
