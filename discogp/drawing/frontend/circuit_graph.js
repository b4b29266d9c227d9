// The circuit graph on vis-network (globalThis.vis): one renderer for the app's component and the standalone HTML.
//
// `mount` is called again on the same element whenever data or theme change. The graph object stays and is
// patched, so zoom, toggles and filters survive. A toggle is drawn here at once and the whole set of what is off
// goes to the page; it never comes back through `data`, which would resend the graph. When the page itself
// changes the set (undo, reset), `data.token` changes and `data.off` is taken over.
//
// vis draws, zooms and pans. Pointing is done here, on the curves as drawn: vis's own search also finds hidden
// edges, measures in graph units instead of pixels, and drops clicks that last longer than a quarter of a second.

const SEGMENTS = 24; // straight pieces that stand for a curve when the pointer is searched
const REACH = 7; // pixels between the pointer and an edge that still count as pointing at it
const DRAG = 5; // pixels of movement that make a click a drag
const PADDING = { left: 46, right: 22, top: 22, bottom: 38 };
const MONO = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(Number(value.toPrecision(3)))}`;

// What a node is, for somebody who does not read names such as a2.h7.
function nodeWords(name) {
  const [, layer, head] = /^[am](\d+)(?:\.h(\d+))?$/.exec(name) || [];
  if (name === "input") return "the prompt's tokens";
  if (layer === undefined) return "what comes next";
  return head === undefined ? `MLP of layer ${layer}` : `head ${head} of layer ${layer}`;
}
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

class CircuitGraph {
  constructor(root) {
    this.root = root;
    this.host = root.host || root;
    this.frame = root.querySelector(".cg");
    this.box = root.querySelector(".cg-canvas");
    this.overlay = root.querySelector(".cg-overlay");
    this.tip = root.querySelector(".cg-tip");
    this.empty = root.querySelector(".cg-empty");
    this.offLabel = root.querySelector(".cg-off");
    this.legend = root.querySelector(".cg-legend");
    this.slider = root.querySelector(".cg-slider input");
    this.sliderText = root.querySelector(".cg-slider output");
    this.find = root.querySelector(".cg-find");
    this.widthText = root.querySelector(".cg-scale");
    this.offEdges = new Set();
    this.offNodes = new Set();
    this.hiddenKinds = new Set();
    this.limit = 0;
    this.seq = 0;
    this.token = null;
    this.graph = null;
    this.net = null;
    this.hover = null;
    this.pinned = null;
    this.press = null;
    this.fitted = true;
    this.listeners = new AbortController();
    this.listen();
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.box);
  }

  // --- data in, ablation out ---------------------------------------------------------------------------

  update({ data, setStateValue }) {
    this.send = setStateValue;
    // Never so high that the figures' row and the whole graph do not fit in one window.
    this.frame.style.height = data.height ? `clamp(380px, calc(100vh - 290px), ${data.height}px)` : "100%";
    const theme = this.readTheme();
    const newGraph = !this.graph || this.graph.id !== data.graph.id;
    const newTheme = !this.theme || JSON.stringify(theme) !== JSON.stringify(this.theme);
    const newOff = this.token !== data.token;
    this.theme = theme;
    this.token = data.token;
    if (newGraph) this.read(data.graph);
    this.palette = this.graph.palettes[theme.dark ? "dark" : "light"];
    // Another drawing of the same circuit has the same token: a click that is on its way to the page still counts.
    if (newOff) {
      this.offEdges = new Set(data.off?.edges);
      this.offNodes = new Set(data.off?.nodes);
    }
    if (newGraph || newTheme) this.writeLegend();
    this.writeOff();
    if (!this.net) this.start();
    else if (newGraph) {
      this.load();
      if (!this.samePlaces) this.fit();
    } else if (newOff || newTheme) this.restyle();
  }

  read(graph) {
    const names = (drawing) => drawing?.nodes.map((node) => node.id).join();
    // The same nodes at the same places: only what widths show is other, so the view stays.
    this.samePlaces = names(this.graph) === names(graph);
    this.graph = graph;
    this.nodes = new Map(graph.nodes.map((node) => [node.id, { ...node, links: [] }]));
    const places = graph.nodes.map((node) => node.id);
    this.links = graph.links.map(([s, t, kind, score, rank, strength, sameColumn, roundness, value]) => {
      const [source, target] = [places[s], places[t]];
      const reader = "qkv".includes(kind) ? `${target}<${kind}>` : target;
      const id = `${source}->${reader}`;
      return { id, source, target, kind, score, rank, strength, sameColumn: !!sameColumn, roundness, value };
    });
    this.linkById = new Map(this.links.map((link) => [link.id, link]));
    for (const link of this.links) {
      this.nodes.get(link.source).links.push(link);
      this.nodes.get(link.target).links.push(link);
    }
    this.limit = Math.min(this.samePlaces ? this.limit : graph.shown, this.links.length);
    if (!this.samePlaces) this.hiddenKinds.clear();
    this.hover = this.pinned = null;
    this.slider.max = Math.max(1, this.links.length);
    this.slider.value = this.limit;
    this.slider.disabled = this.links.length < 2;
    this.choose();
  }

  // Which links and nodes are visible: the strongest of the kinds that are switched on.
  choose() {
    this.visible = this.links.slice(0, this.limit).filter((link) => !this.hiddenKinds.has(link.kind));
    const used = new Set(["input", "logits"]);
    for (const link of this.visible) used.add(link.source).add(link.target);
    for (const name of this.offNodes) used.add(name);
    this.visibleNodes = used;
    // Strengths are stretched over what is visible, else the strongest few of a thousand would all look alike.
    const strengths = this.visible.map((link) => link.strength);
    this.weakest = Math.min(...strengths);
    this.spread = Math.max(...strengths) - this.weakest;
    this.visibleLinks = new Set(this.visible.map((link) => link.id));
    const [kept, sent] = [this.graph.kept, this.links.length];
    this.sliderText.textContent = `${this.limit.toLocaleString("en")} of ${kept.toLocaleString("en")}`;
    const others = kept > sent ? ` The weakest ${plural(kept - sent, "edge")} cannot be drawn here.` : "";
    this.sliderText.title = `The strongest are drawn, by ${this.graph.widthsShow}.${others}`;
    this.widthText.textContent = `Width: ${this.graph.widthsShow}`;
    this.empty.hidden = this.visible.length > 0;
    this.empty.textContent = this.links.length ? "Every kind of edge is hidden." : "This circuit keeps no edges.";
  }

  isOff(link) {
    return this.offEdges.has(link.id) || this.offNodes.has(link.source) || this.offNodes.has(link.target);
  }

  toggleEdge(id) {
    const link = this.linkById.get(id);
    if (!link) return;
    // While a node at its end is off, the edge is off whatever is done to it: say so instead of toggling unseen.
    if (this.offNodes.has(link.source) || this.offNodes.has(link.target)) return;
    if (!this.offEdges.delete(id)) this.offEdges.add(id);
    this.changed([link], []);
  }

  toggleNode(name) {
    const node = this.nodes.get(name);
    if (!node) return;
    if (!this.offNodes.delete(name)) this.offNodes.add(name);
    this.changed(node.links, [name]);
  }

  reset() {
    this.offEdges.clear();
    this.offNodes.clear();
    this.changed(this.links, [...this.nodes.keys()]);
  }

  changed(links, nodeNames) {
    this.edgeData.update(links.filter((link) => this.visibleLinks.has(link.id)).map((link) => this.edgeStyle(link)));
    this.nodeData.update(nodeNames.map((name) => this.nodeStyle(this.nodes.get(name))));
    this.writeOff();
    this.showTip();
    this.seq += 1;
    const ablation = { edges: [...this.offEdges], nodes: [...this.offNodes], seq: this.seq, token: this.token };
    this.send?.("ablation", ablation);
  }

  // --- drawing -------------------------------------------------------------------------------------------

  readTheme() {
    const style = getComputedStyle(this.host);
    const probe = document.createElement("canvas").getContext("2d");
    probe.fillStyle = "#ffffff";
    probe.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
    const background = probe.fillStyle;
    const channels = background.startsWith("#")
      ? [1, 3, 5].map((i) => parseInt(background.slice(i, i + 2), 16))
      : (background.match(/[\d.]+/g) || [255, 255, 255]).slice(0, 3).map(Number);
    return { background, dark: channels[0] * 0.299 + channels[1] * 0.587 + channels[2] * 0.114 < 128 };
  }

  start() {
    // A hidden tab has no size: wait for the observer, else the fit would be to nothing.
    if (!this.box.clientWidth || !this.box.clientHeight) return;
    if (!globalThis.vis) {
      this.waiting ||= setInterval(() => {
        if (!globalThis.vis) return;
        clearInterval(this.waiting);
        this.start();
      }, 20);
      return;
    }
    this.nodeData = new vis.DataSet();
    this.edgeData = new vis.DataSet();
    this.net = new vis.Network(
      this.box,
      { nodes: this.nodeData, edges: this.edgeData },
      {
        autoResize: true,
        physics: false,
        layout: { improvedLayout: false },
        nodes: { shape: "box", borderWidth: 1.3, chosen: false, fixed: true },
        edges: { arrows: { to: { enabled: false } }, chosen: false, selectionWidth: 0, hoverWidth: 0 },
        interaction: {
          hover: false,
          selectable: false,
          dragNodes: false,
          tooltipDelay: 1e9,
          zoomSpeed: 0.6,
          keyboard: false,
        },
      },
    );
    this.net.on("beforeDrawing", (context) => this.drawRows(context));
    this.net.on("afterDrawing", () => this.drawHot());
    this.net.on("zoom", () => this.moved());
    this.net.on("dragging", () => this.moved());
    this.load();
    this.fit();
  }

  load() {
    this.layout();
    this.nodeData.clear();
    this.edgeData.clear();
    this.nodeData.add([...this.nodes.values()].map((node) => this.nodeStyle(node)));
    // Weakest first, so that the strongest are drawn on top.
    this.edgeData.add(this.visible.map((link) => this.edgeStyle(link)).reverse());
    this.trace();
  }

  restyle() {
    this.choose();
    this.nodeData.update([...this.nodes.values()].map((node) => this.nodeStyle(node)));
    this.edgeData.update(this.visible.map((link) => this.edgeStyle(link)));
    this.net.redraw();
  }

  // After the slider or the legend: edges come and go, their order stays.
  refilter() {
    this.setHover(null);
    this.choose();
    if (!this.net) return;
    this.edgeData.clear();
    this.edgeData.add(this.visible.map((link) => this.edgeStyle(link)).reverse());
    this.nodeData.update([...this.nodes.values()].map((node) => this.nodeStyle(node)));
    this.trace();
  }

  // Grid to pixels, such that the whole graph fits at a scale near 1 and labels keep their size.
  layout() {
    const { width, height } = this.graph;
    const inner = {
      x: this.box.clientWidth - PADDING.left - PADDING.right,
      y: this.box.clientHeight - PADDING.top - PADDING.bottom,
    };
    const longest = Math.max(...this.graph.nodes.map((node) => node.id.length), 5);
    const rows = Math.max(height, 1);
    const columns = Math.max(width, 1);
    this.font = clamp((inner.y / rows) * 0.58, 12, 14);
    // Crowded boxes give up their margins first; only then does everything get smaller.
    const roomy = longest * this.font * 0.61 + 24 <= inner.x / (columns + 1);
    this.margin = { x: roomy ? 6 : 3, y: inner.y / rows > 26 ? 3 : 1 };
    this.nodeWidth = longest * this.font * 0.61 + 2 * this.margin.x + 2;
    const least = { x: this.nodeWidth + (roomy ? 8 : 4), y: this.font + 8 };
    const shrink = Math.min(
      1,
      inner.x / (columns * least.x + this.nodeWidth),
      inner.y / (rows * least.y + 26),
    );
    const stepX = clamp((inner.x / shrink - this.nodeWidth) / columns, least.x, 170 / shrink);
    const stepY = clamp((inner.y / shrink - 26) / rows, least.y, 130 / shrink);
    for (const node of this.nodes.values()) {
      node.px = node.x * stepX;
      node.py = -node.y * stepY;
    }
    this.rows = this.graph.rows.map(([y, label]) => [-y * stepY, label]);
  }

  nodeStyle(node) {
    const off = this.offNodes.has(node.id);
    const colors = this.palette.nodes[node.kind];
    return {
      id: node.id,
      label: node.id,
      x: node.px,
      y: node.py,
      hidden: !this.visibleNodes.has(node.id),
      color: { background: off ? this.theme.background : colors.fill, border: off ? this.palette.off : colors.line },
      font: { color: off ? this.palette.off : this.palette.text, size: this.font, face: MONO },
      margin: { top: this.margin.y, bottom: this.margin.y, left: this.margin.x, right: this.margin.x },
      shapeProperties: { borderRadius: node.kind === "head" ? 9 : 3, borderDashes: off ? [4, 3] : false },
    };
  }

  edgeStyle(link) {
    const off = this.isOff(link);
    const strength = this.spread > 0 ? (link.strength - this.weakest) / this.spread : link.strength;
    // The more edges, the fainter the weak ones: they stay a texture behind the strong ones.
    const crowd = clamp(Math.log10(Math.max(this.visible.length, 1) / 40) / 1.7, 0, 1);
    const opacity = 0.5 - 0.4 * crowd + (0.45 + 0.3 * crowd) * strength;
    return {
      id: link.id,
      from: link.source,
      to: link.target,
      color: { color: off ? this.palette.off : this.palette.edges[link.kind], opacity: off ? 0.6 : opacity },
      width: off ? 0.7 : (0.9 - 0.4 * crowd) + (3.1 - 0.6 * crowd) * strength,
      smooth: {
        enabled: true,
        type: link.sameColumn ? "curvedCW" : "cubicBezier",
        forceDirection: "vertical",
        roundness: link.roundness,
      },
    };
  }

  // Lines and names of the layers. The names stay at the left edge while the graph moves.
  drawRows(context) {
    const ratio = context.canvas.width / this.box.clientWidth;
    context.save();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = `11px ${MONO}`;
    context.textBaseline = "middle";
    context.strokeStyle = this.palette.rule;
    context.fillStyle = this.palette.dim;
    for (const [y, label] of this.rows) {
      const screen = Math.round(this.net.canvasToDOM({ x: 0, y }).y) + 0.5;
      context.beginPath();
      context.moveTo(38, screen);
      context.lineTo(this.box.clientWidth, screen);
      context.stroke();
      context.fillText(label, 10, screen);
    }
    context.restore();
  }

  // What is pointed at is drawn once more, on a canvas of its own above: a hover need not draw the whole again.
  drawHot() {
    const { canvas } = this.net.canvas.frame;
    const context = this.overlay.getContext("2d");
    if (this.overlay.width !== canvas.width || this.overlay.height !== canvas.height) {
      this.overlay.width = canvas.width;
      this.overlay.height = canvas.height;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const hot = this.hover || this.pinned;
    if (!hot) return;
    const { edges, nodes } = this.net.body;
    const links = hot.node ? this.nodes.get(hot.node).links : [this.linkById.get(hot.edge)];
    const shown = links.filter((link) => this.visibleLinks.has(link.id) && edges[link.id]);
    if (hot.node) this.veil(context);
    const origin = this.net.canvasToDOM({ x: 0, y: 0 });
    const ratio = canvas.width / this.box.clientWidth;
    const scale = ratio * this.net.getScale();
    context.setTransform(scale, 0, 0, scale, ratio * origin.x, ratio * origin.y);
    const ends = new Set(hot.node ? [hot.node] : []);
    for (const link of shown) {
      const { options } = edges[link.id];
      const { width, color } = options;
      options.width = Math.max(width, (hot.edge ? 2.6 : 1.7) / this.net.getScale());
      options.color = { ...color, opacity: 1 };
      edges[link.id].draw(context);
      options.width = width;
      options.color = color;
      ends.add(link.source).add(link.target);
    }
    for (const name of ends) nodes[name].draw(context);
    if (hot.node) this.ring(context, hot.node);
  }

  veil(context) {
    context.save();
    context.globalAlpha = 0.84;
    context.fillStyle = this.theme.background;
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.restore();
  }

  ring(context, name) {
    const { left, top, right, bottom } = this.nodeBox(name);
    context.save();
    context.strokeStyle = this.palette.accent;
    context.lineWidth = 2 / this.net.getScale();
    context.beginPath();
    context.roundRect(left - 3, top - 3, right - left + 6, bottom - top + 6, 11);
    context.stroke();
    context.restore();
  }

  // --- view ----------------------------------------------------------------------------------------------

  fit() {
    const [xs, ys] = [[], []];
    for (const node of this.nodes.values()) {
      xs.push(node.px);
      ys.push(node.py);
    }
    const half = { x: this.nodeWidth / 2, y: 14 };
    const [left, right] = [Math.min(...xs) - half.x, Math.max(...xs) + half.x];
    const [top, bottom] = [Math.min(...ys) - half.y, Math.max(...ys) + half.y];
    const scale = Math.min(
      (this.box.clientWidth - PADDING.left - PADDING.right) / (right - left),
      (this.box.clientHeight - PADDING.top - PADDING.bottom) / (bottom - top),
      1.25,
    );
    // The middle of the graph goes to the middle of the box less its padding.
    const shift = { x: (PADDING.left - PADDING.right) / 2 / scale, y: (PADDING.top - PADDING.bottom) / 2 / scale };
    const position = { x: (left + right) / 2 - shift.x, y: (top + bottom) / 2 - shift.y };
    this.net.moveTo({ position, scale, animation: false });
    this.fitted = true;
  }

  zoom(factor) {
    const scale = clamp(this.net.getScale() * factor, 0.05, 8);
    this.net.moveTo({ position: this.net.getViewPosition(), scale, animation: false });
    this.fitted = false;
  }

  moved() {
    this.fitted = false;
    this.setHover(null);
  }

  resized() {
    if (!this.graph) return;
    if (!this.net) {
      this.start();
      return;
    }
    const size = `${this.box.clientWidth}×${this.box.clientHeight}`;
    if (size === this.size || !this.box.clientWidth || !this.box.clientHeight) return;
    this.size = size;
    this.net.setSize("100%", "100%");
    // A view that was never moved follows the box; one that the reader chose stays.
    if (this.fitted) {
      this.layout();
      this.nodeData.update([...this.nodes.values()].map((node) => this.nodeStyle(node)));
      this.trace();
      this.fit();
    }
    this.net.redraw();
  }

  savePng() {
    const source = this.box.querySelector("canvas");
    const copy = document.createElement("canvas");
    copy.width = source.width;
    copy.height = source.height;
    const context = copy.getContext("2d");
    context.fillStyle = this.theme.background;
    context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(source, 0, 0);
    const link = document.createElement("a");
    link.download = "circuit.png";
    link.href = copy.toDataURL("image/png");
    link.click();
  }

  // --- pointing ------------------------------------------------------------------------------------------

  // The curves as vis draws them, as points in graph units: [x0, y0, x1, y1, …] and a bounding box for each link.
  trace() {
    this.curves = this.visible.map((link) => {
      const [a, b] = [this.nodes.get(link.source), this.nodes.get(link.target)];
      const points = new Float32Array(2 * (SEGMENTS + 1));
      const at = link.sameColumn ? this.arc(a, b, link) : this.bezier(a, b, link);
      const bounds = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
      for (let i = 0; i <= SEGMENTS; i += 1) {
        const [x, y] = at(i / SEGMENTS);
        points[2 * i] = x;
        points[2 * i + 1] = y;
        bounds.left = Math.min(bounds.left, x);
        bounds.right = Math.max(bounds.right, x);
        bounds.top = Math.min(bounds.top, y);
        bounds.bottom = Math.max(bounds.bottom, y);
      }
      return { link, points, bounds };
    });
  }

  bezier(a, b, link) {
    const pull = link.roundness * (a.py - b.py);
    const mix = (t, p, q, r, s) => (1 - t) ** 3 * p + 3 * t * (1 - t) ** 2 * q + 3 * t * t * (1 - t) * r + t ** 3 * s;
    return (t) => [mix(t, a.px, a.px, b.px, b.px), mix(t, a.py, a.py - pull, b.py + pull, b.py)];
  }

  arc(a, b, link) {
    const bend = link.roundness * 0.5 + 0.5;
    const length = Math.hypot(b.px - a.px, a.py - b.py);
    const angle = Math.atan2(a.py - b.py, b.px - a.px) + bend * Math.PI;
    const via = [a.px + bend * length * Math.sin(angle), a.py + bend * length * Math.cos(angle)];
    const mix = (t, p, q, r) => (1 - t) ** 2 * p + 2 * t * (1 - t) * q + t * t * r;
    return (t) => [mix(t, a.px, via[0], b.px), mix(t, a.py, via[1], b.py)];
  }

  nodeBox(name) {
    const { shape } = this.net.body.nodes[name];
    const { px, py } = this.nodes.get(name);
    const [w, h] = [(shape.width || this.nodeWidth) / 2, (shape.height || 24) / 2];
    return { left: px - w, right: px + w, top: py - h, bottom: py + h };
  }

  // What lies at a point of the canvas (pixels from its corner): {node}, {edge} or null.
  at(point) {
    if (!this.net) return null;
    const { x, y } = this.net.DOMtoCanvas(point);
    for (const name of this.visibleNodes) {
      if (!this.nodes.has(name)) continue;
      const { left, right, top, bottom } = this.nodeBox(name);
      if (x >= left && x <= right && y >= top && y <= bottom) return { node: name };
    }
    const reach = REACH / this.net.getScale();
    let [best, nearest] = [null, reach * reach];
    for (const { link, points, bounds } of this.curves) {
      if (x < bounds.left - reach || x > bounds.right + reach) continue;
      if (y < bounds.top - reach || y > bounds.bottom + reach) continue;
      for (let i = 0; i < points.length - 2; i += 2) {
        const [dx, dy] = [points[i + 2] - points[i], points[i + 3] - points[i + 1]];
        const along = clamp(((x - points[i]) * dx + (y - points[i + 1]) * dy) / (dx * dx + dy * dy || 1), 0, 1);
        const distance = (points[i] + along * dx - x) ** 2 + (points[i + 1] + along * dy - y) ** 2;
        if (distance < nearest) [best, nearest] = [link.id, distance];
      }
    }
    return best === null ? null : { edge: best };
  }

  local(event) {
    const corner = this.box.getBoundingClientRect();
    return { x: event.clientX - corner.left, y: event.clientY - corner.top };
  }

  setHover(hover, point = null) {
    this.pointer = point || this.pointer;
    const same = hover?.node === this.hover?.node && hover?.edge === this.hover?.edge;
    this.hover = hover;
    this.showTip();
    this.box.classList.toggle("cg-point", !!hover);
    if (!same && this.net) this.drawHot();
  }

  showTip() {
    const { hover, tip, pointer } = this;
    tip.hidden = !hover || !pointer;
    if (tip.hidden) return;
    tip.replaceChildren(...(hover.node ? this.nodeTip(hover.node) : this.edgeTip(hover.edge)));
    // Beside the pointer, on the side where there is room.
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const right = pointer.x + 16 + width < this.box.clientWidth;
    const below = pointer.y + 16 + height < this.box.clientHeight;
    tip.style.left = `${Math.max(4, right ? pointer.x + 16 : pointer.x - width - 12)}px`;
    tip.style.top = `${Math.max(4, below ? pointer.y + 16 : pointer.y - height - 12)}px`;
  }

  nodeTip(name) {
    const node = this.nodes.get(name);
    const off = this.offNodes.has(name);
    const lines = [element("b", name), element("span", nodeWords(name))];
    const [inputs, outputs] = [node.in, node.out];
    if (inputs[1]) lines.push(element("span", `${inputs[0].toLocaleString("en")} of ${plural(inputs[1], "edge")} in`));
    if (outputs[1]) lines.push(element("span", `${outputs[0].toLocaleString("en")} of ${plural(outputs[1], "edge")} out`));
    lines.push(element("span", off ? "Off. Click to switch it on." : "Click to switch it off.", "cg-hint"));
    return lines;
  }

  edgeTip(id) {
    const link = this.linkById.get(id);
    const lines = [element("b", `${link.source} → ${link.target}`)];
    const role = { q: ", as its query", k: ", as its key", v: ", as its value" }[link.kind] || "";
    lines.push(element("span", `${nodeWords(link.source)}, read by ${nodeWords(link.target)}${role}`));
    if (link.value !== null) lines.push(element("span", `${this.graph.widthsShow}: ${signed(link.value)}`));
    if (link.score !== null) lines.push(element("span", `score ${Number(link.score.toPrecision(4))}`));
    lines.push(element("span", `rank ${link.rank.toLocaleString("en")} of ${this.graph.kept.toLocaleString("en")}`));
    const node = [link.source, link.target].find((name) => this.offNodes.has(name));
    const hint = node
      ? `Off, because ${node} is. Click ${node} to switch it on.`
      : this.offEdges.has(id)
        ? "Off. Click to switch it on."
        : "Click to switch it off.";
    lines.push(element("span", hint, "cg-hint"));
    return lines;
  }

  // --- controls ------------------------------------------------------------------------------------------

  listen() {
    const { signal } = this.listeners;
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal });
    on(this.box, "pointerdown", (event) => {
      this.press = event.isPrimary && event.button === 0 ? { x: event.clientX, y: event.clientY } : null;
    });
    on(this.box, "pointermove", (event) => this.pointed(event));
    on(this.box, "pointerup", (event) => this.released(event));
    on(this.box, "pointerleave", () => this.setHover(null));
    on(document, "keydown", (event) => {
      if (event.key === "Escape") this.clear();
    });
    on(this.slider, "input", () => {
      this.limit = Number(this.slider.value);
      cancelAnimationFrame(this.sliding);
      this.sliding = requestAnimationFrame(() => this.refilter());
    });
    on(this.find, "input", () => this.search(false));
    on(this.find, "keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.search(true);
      if (event.key === "Escape") this.clear();
    });
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      on(button, "click", () => this.useTool(button.dataset.tool));
    }
  }

  useTool(tool) {
    if (!this.net) return;
    if (tool === "in") this.zoom(1.3);
    if (tool === "out") this.zoom(1 / 1.3);
    if (tool === "fit") {
      this.layout();
      this.nodeData.update([...this.nodes.values()].map((node) => this.nodeStyle(node)));
      this.trace();
      this.fit();
    }
    if (tool === "png") this.savePng();
    if (tool === "full") {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.frame.requestFullscreen?.();
    }
  }

  pointed(event) {
    if (event.buttons) {
      const { press } = this;
      if (press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAG) this.press = null;
      return;
    }
    const point = this.local(event);
    cancelAnimationFrame(this.pointing);
    this.pointing = requestAnimationFrame(() => this.setHover(this.at(point), point));
  }

  released(event) {
    const { press } = this;
    this.press = null;
    if (!press || !event.isPrimary) return;
    if (Math.hypot(event.clientX - press.x, event.clientY - press.y) > DRAG) return;
    const point = this.local(event);
    const found = this.at(point);
    if (found?.node) this.toggleNode(found.node);
    else if (found?.edge) this.toggleEdge(found.edge);
    if (event.pointerType === "mouse") this.setHover(found, point);
  }

  // Typing a node's name shows its edges; Enter goes there, and Enter once more switches the node.
  search(enter) {
    const wanted = this.find.value.trim().toLowerCase();
    const found = wanted && this.nodes.has(wanted) ? wanted : null;
    this.find.classList.toggle("cg-miss", !!wanted && ![...this.nodes.keys()].some((name) => name.startsWith(wanted)));
    const again = enter && found && this.pinned?.node === found && this.pinned.visited;
    this.pinned = found ? { node: found, visited: enter || this.pinned?.visited } : null;
    if (again) this.toggleNode(found);
    else if (enter && found) this.goTo(found);
    if (this.net) this.drawHot();
  }

  goTo(name) {
    const { px, py } = this.nodes.get(name);
    const scale = Math.max(this.net.getScale(), 1.1);
    this.net.moveTo({ position: { x: px, y: py }, scale, animation: { duration: 250 } });
    this.fitted = false;
  }

  clear() {
    this.pinned = null;
    this.find.value = "";
    this.find.classList.remove("cg-miss");
    this.setHover(null);
    if (this.net) this.drawHot();
  }

  writeLegend() {
    const counts = {};
    for (const link of this.links) counts[link.kind] = (counts[link.kind] || 0) + 1;
    const buttons = Object.entries(this.graph.kindLabels).map(([kind, label]) => {
      const button = element("button", label, "cg-kind");
      button.type = "button";
      button.dataset.kind = kind;
      button.title = `${plural(counts[kind] || 0, "edge")} read as ${label}: show or hide`;
      button.setAttribute("aria-pressed", String(!this.hiddenKinds.has(kind)));
      button.style.setProperty("--kind", this.palette.edges[kind]);
      button.disabled = !counts[kind];
      button.onclick = () => {
        if (!this.hiddenKinds.delete(kind)) this.hiddenKinds.add(kind);
        button.setAttribute("aria-pressed", String(!this.hiddenKinds.has(kind)));
        this.refilter();
      };
      return button;
    });
    this.legend.replaceChildren(...buttons);
  }

  writeOff() {
    const parts = [];
    if (this.offNodes.size) parts.push(plural(this.offNodes.size, "node"));
    if (this.offEdges.size) parts.push(plural(this.offEdges.size, "edge"));
    this.offLabel.textContent = parts.length ? `${parts.join(" and ")} off` : "";
  }

  // --- for tests in a browser ----------------------------------------------------------------------------

  scale() {
    return this.net.getScale();
  }

  position() {
    return this.net.getViewPosition();
  }

  off() {
    return { edges: [...this.offEdges], nodes: [...this.offNodes] };
  }

  toPage({ x, y }) {
    const corner = this.box.getBoundingClientRect();
    const point = this.net.canvasToDOM({ x, y });
    if (point.x < 2 || point.y < 2 || point.x > corner.width - 2 || point.y > corner.height - 2) return null;
    return { x: corner.left + point.x, y: corner.top + point.y };
  }

  nodePoint(name) {
    const node = this.nodes.get(name);
    return node && this.visibleNodes.has(name) ? this.toPage({ x: node.px, y: node.py }) : null;
  }

  // A point of the window where a click meets exactly this edge, or null where others cover it all along.
  edgePoint(id) {
    const curve = this.curves.find(({ link }) => link.id === id);
    if (!curve) return null;
    const order = [...Array(SEGMENTS + 1).keys()].sort((a, b) => Math.abs(a - SEGMENTS / 2) - Math.abs(b - SEGMENTS / 2));
    for (const i of order) {
      const point = this.net.canvasToDOM({ x: curve.points[2 * i], y: curve.points[2 * i + 1] });
      // A browser rounds the pointer to whole pixels.
      const rounded = { x: Math.round(point.x), y: Math.round(point.y) };
      const corner = this.box.getBoundingClientRect();
      const page = { x: corner.left + rounded.x, y: corner.top + rounded.y };
      const inside = rounded.x > 2 && rounded.y > 2 && rounded.x < corner.width - 2 && rounded.y < corner.height - 2;
      if (inside && this.at(rounded)?.edge === id) return page;
    }
    return null;
  }

  clickableEdges(most = 50) {
    const found = [];
    for (const { link } of this.curves) {
      if (found.length >= most) break;
      if (this.edgePoint(link.id)) found.push(link.id);
    }
    return found;
  }

  destroy() {
    this.listeners.abort();
    this.observer.disconnect();
    clearInterval(this.waiting);
    this.net?.destroy();
    if (globalThis.__circuitGraph === this) delete globalThis.__circuitGraph;
  }
}

// On the element, not in a variable of this module: a page may load the module anew for the same element.
const KEPT = Symbol.for("discogp.circuitGraph");

function mount(component) {
  const root = component.parentElement;
  root[KEPT] ||= globalThis.__circuitGraph = new CircuitGraph(root);
  root[KEPT].update(component);
  return () => {
    root[KEPT]?.destroy();
    delete root[KEPT];
  };
}

export default mount;
