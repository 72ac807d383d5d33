// Two images that move together, from wherever they are when they are linked.

const MOVES = ["zoom", "pan"];

export class Pair {
  /** Links two stages that are open. */
  constructor(one, other) {
    this.stages = [one, other];
    this.leading = null;
    for (const stage of this.stages) {
      for (const name of MOVES) stage.osd.addHandler(name, () => this.#moved(stage));
      stage.addEventListener("fitted", () => this.#fitted());
    }
    this.link(true);
  }

  /** Links or unlinks them; linked again, they keep the distance that they have got meanwhile. */
  link(linked) {
    this.linked = linked;
    this.start = this.stages.map(({ viewport }) => ({
      zoom: viewport.getZoom(),
      center: viewport.getCenter(),
    }));
  }

  /** Both show all of themselves in places of another size than before. */
  #fitted() {
    if (!this.linked || !this.stages.every(({ untouched }) => untouched)) return;
    this.leading = this.stages[0];
    for (const stage of this.stages) stage.whole(true);
    this.leading = null;
    this.link(true);
  }

  #moved(stage) {
    if (!this.linked || this.leading) return;
    this.leading = stage;
    const index = this.stages.indexOf(stage);
    const other = this.stages[1 - index];
    const [mine, theirs] = [this.start[index], this.start[1 - index]];
    const scale = mine.zoom / theirs.zoom;
    const step = stage.viewport.getCenter().minus(mine.center).times(scale);
    other.untouched = stage.untouched;
    other.viewport.zoomTo(stage.viewport.getZoom() / scale);
    other.viewport.panTo(theirs.center.plus(step));
    this.leading = null;
  }
}
