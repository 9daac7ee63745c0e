// Draws what /console/data says, twice a second: rates from counters, lag at its peak since the last look, never smoothed.
import { byId, make } from "/static/page.js";

const POLL_MILLISECONDS = 500;
const POINTS_MAX = 240; // two minutes
const RATE_OVER = 4; // readings: rates are means over two seconds

const WIDTH = 1000;
const HEIGHT = 100;
const readings = []; // {at, accepted, decided, head}
const rates = []; // {accepted, decided, events}
const lags = new Map(); // view name -> most events behind, oldest first

const whole = new Intl.NumberFormat("en");
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

async function poll() {
  try {
    const response = await fetch("/console/data", { cache: "no-store" });
    if (!response.ok) throw new Error((await response.json()).detail);
    show(await response.json());
  } catch (error) {
    say("away", `no answer: ${error.message}`);
  }
  setTimeout(poll, POLL_MILLISECONDS);
}

function show(data) {
  remember(data);
  const rate = rates.at(-1);
  for (const name of ["accepted", "decided", "events"]) byId(name).textContent = rate ? tenth.format(rate[name]) : "–";
  byId("head").textContent = whole.format(data.head);
  drawThroughput();
  byId("views").replaceChildren(...data.views.map(viewCard));
  byId("lanes").replaceChildren(...laneRows(data.lanes));
  byId("recent").replaceChildren(...data.recent.map(eventRow));
  const worst = ["away", "diverged", "parked", "behind"].find((state) => data.views.some((view) => view.state === state)) ?? "live";
  say(worst, { live: "live", behind: "a view is behind", parked: "something is parked", away: "a store is away" }[worst]);
}

function remember(data) {
  const reading = { at: Date.parse(data.now), accepted: data.accepted, decided: data.decided, head: data.head };
  if (readings.length && (reading.accepted < readings.at(-1).accepted || reading.head < readings.at(-1).head)) readings.length = 0; // restarted
  readings.push(reading);
  while (readings.length > RATE_OVER + 1) readings.shift();
  const first = readings[0];
  const seconds = (reading.at - first.at) / 1000;
  if (seconds > 0) {
    const per = (name) => (reading[name] - first[name]) / seconds;
    keep(rates, { accepted: per("accepted"), decided: per("decided"), events: per("head") });
  }
  for (const view of data.views) {
    if (!lags.has(view.name)) lags.set(view.name, []);
    keep(lags.get(view.name), Math.max(view.lag_events, view.sync === "async" ? data.peaks[view.name] ?? 0 : 0));
  }
}

function keep(list, value) {
  list.push(value);
  if (list.length > POINTS_MAX) list.shift();
}

function points(values, top) {
  const start = POINTS_MAX - values.length;
  return values.map((value, at) => `${(((start + at) / (POINTS_MAX - 1)) * WIDTH).toFixed(1)},${(HEIGHT - (value / top) * (HEIGHT - 6)).toFixed(1)}`);
}

function chart(label, ...shapes) {
  const base = make("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT });
  return make("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, base, ...shapes);
}

function drawThroughput() {
  if (!rates.length) return;
  const top = Math.max(1, ...rates.flatMap((rate) => [rate.accepted, rate.decided, rate.events]));
  const line = (name, style) => make("polyline", { class: style, points: points(rates.map((rate) => rate[name]), top).join(" ") });
  const label = `Throughput over two minutes, at most ${tenth.format(top)} a second`;
  byId("throughput").replaceChildren(chart(label, line("events", "third"), line("decided", "second"), line("accepted", "first")));
  byId("throughput-top").textContent = `top of the chart: ${tenth.format(top)} a second`;
}

function viewCard(view) {
  const values = lags.get(view.name);
  const top = Math.max(10, ...values);
  const line = points(values, top);
  const first = line[0].split(",")[0];
  const label = `${view.name}: ${whole.format(view.lag_events)} events behind, at most ${whole.format(Math.max(...values))} in two minutes`;
  const drawing = chart(label,
    make("polygon", { points: [`${first},${HEIGHT}`, ...line, `${WIDTH},${HEIGHT}`].join(" ") }),
    make("polyline", { class: "first", points: line.join(" ") }));
  return make("article", { class: `view is-${view.state}`, "data-view": view.name },
    make("h3", {}, make("span", {}, make("span", { class: "dot" }), view.name), make("small", {}, view.state)),
    drawing,
    make("p", {}, make("span", {}, `${whole.format(view.lag_events)} events, peak ${whole.format(values.at(-1))}`), make("span", {}, `${view.lag_seconds.toFixed(2)} s behind`)),
    make("p", {}, make("span", {}, `at ${whole.format(view.position)}`),
      make("span", {}, view.parked_keys ? `${view.parked_keys} keys parked` : view.sync === "live" ? "live, nothing stored" : `${view.store}, ${view.slices} ${view.slices === 1 ? "slice" : "slices"}`)));
}

function laneRows(lanes) {
  if (!lanes) return [make("tr", {}, make("td", { colspan: 2, class: "faint" }, "not known"))];
  return Object.entries(lanes).map(([lane, depth]) => make("tr", {}, make("td", {}, lane), make("td", { class: "number" }, whole.format(depth))));
}

function eventRow(event) {
  return make("tr", {},
    make("td", { class: "number" }, whole.format(event.position)), make("td", {}, event.type), make("td", {}, event.stream),
    make("td", { class: "number" }, whole.format(event.version)), make("td", {}, new Date(event.recorded_at).toLocaleTimeString()));
}

function say(state, text) {
  byId("state").className = `is-${state}`;
  if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
}

poll();
