"use strict";

// ---- Forms whose state is the address ----------------------------------------------------------------------------------
document.addEventListener("submit", event => {
  if (!event.target.matches("form[data-tidy]")) return;
  // Fields left empty would only make the address longer.
  for (const field of event.target.elements) {
    if (field.name && field.value === "") field.disabled = true;
    if (field.name === "rows" && field.value === "50") field.disabled = true;
  }
});
// The browser shows this page again from its memory after "back": with every field usable.
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[data-tidy] :disabled")) field.disabled = false;
});

document.addEventListener("keydown", event => {
  if (event.key !== "f" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog[open]")) return;
  const filter = document.querySelector("input[data-filter]");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
});

// ---- Selected rows: in the address too, so that it can be sent on and kept from page to page ----------------------------
const selection = document.querySelector("form[data-selection]");

function selectedRuns() {
  const chosen = [...selection.querySelectorAll('input[name="run"]')].filter(input => input.type === "hidden" || input.checked);
  return [...new Set(chosen.map(input => input.value))];
}

function withSelection(address) {
  const url = new URL(address, location.href);
  url.searchParams.delete("run");
  for (const run of selectedRuns()) url.searchParams.append("run", run);
  return url;
}

function showSelection() {
  const boxes = [...selection.querySelectorAll('tbody input[type="checkbox"]')];
  const all = selection.querySelector("[data-select-all]");
  const checked = boxes.filter(box => box.checked).length;
  all.checked = checked === boxes.length;
  all.indeterminate = checked > 0 && checked < boxes.length;
  selection.querySelector("[data-selected-count]").textContent = `${selectedRuns().length} selected`;
  for (const box of boxes) box.closest("tr").toggleAttribute("data-selected", box.checked);
}

if (selection) {
  let last = null;
  selection.addEventListener("click", event => {
    if (!event.target.matches('tbody input[type="checkbox"]')) return;
    // Shift takes all rows from the last one clicked.
    if (event.shiftKey && last) {
      const boxes = [...selection.querySelectorAll('tbody input[type="checkbox"]')];
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(event.target)].sort((a, b) => a - b);
      for (const box of boxes.slice(from, to + 1)) box.checked = event.target.checked;
    }
    last = event.target;
  });
  selection.addEventListener("change", event => {
    if (event.target.matches("[data-select-all]")) {
      for (const box of selection.querySelectorAll('tbody input[type="checkbox"]')) box.checked = event.target.checked;
    }
    showSelection();
    history.replaceState(null, "", withSelection(location.href));
  });
  document.addEventListener("click", event => {
    const link = event.target.closest("a[data-keep]");
    if (link) link.href = withSelection(link.href);
  });
  addEventListener("pageshow", showSelection);
  showSelection();
}

// ---- Pictures -----------------------------------------------------------------------------------------------------------
const canDraw = typeof echarts !== "undefined";
const colourOf = i => token(`s${i % 10}`);

function axisStyle() {
  const quiet = token("quiet");
  return {
    nameTextStyle: { color: quiet, fontSize: 12 }, axisLabel: { color: quiet, fontSize: 12, hideOverlap: true, formatter: number },
    axisLine: { lineStyle: { color: token("line-strong") } }, splitLine: { lineStyle: { color: token("line"), width: 0.5 } },
  };
}

function tooltip(more) {
  return { renderMode: "richText", confine: true, backgroundColor: token("panel"), borderColor: token("line-strong"), textStyle: { color: token("text"), fontSize: 12 }, ...more };
}

// ---- Curves: asked for when they come into sight, as wide as they are -----------------------------------------------------
const curves = document.querySelector("[data-curves]");

// Exponential moving average whose weight follows the distance along x, so that thinned and uneven points are smoothed alike.
// Without the correction at the start (Kingma and Ba 2015) the first values would pull towards zero.
function smoothed(points, weight) {
  if (weight <= 0 || points.length < 3) return points;
  const width = points[points.length - 1][0] - points[0][0] || 1;
  let [sum, norm, before] = [0, 0, points[0][0]];
  return points.map(([x, y]) => {
    if (y === null) return [x, null];
    const keep = Math.pow(weight, (x - before) / width * 300);
    sum = sum * keep + y;
    norm = norm * keep + 1;
    before = x;
    return [x, sum / norm];
  });
}

if (curves && canDraw) {
  const runs = JSON.parse(curves.dataset.runs);
  const form = curves.querySelector("form");
  const reset = curves.querySelector("[data-reset-zoom]");
  const address = new URL(location.href).searchParams;
  let range = address.has("from") && address.has("to") ? [Number(address.get("from")), Number(address.get("to"))] : null;
  const loaded = new Map(); // Element to the curves it shows.

  const choices = () => ({ x: form.elements.x.value, smooth: Number(form.elements.smooth.value), log: form.elements.log.checked });

  const keepInAddress = () => {
    const { x, smooth, log } = choices();
    const url = new URL(location.href);
    const put = (name, value) => value === null ? url.searchParams.delete(name) : url.searchParams.set(name, value);
    put("x", x === "step" ? null : x);
    put("smooth", smooth > 0 ? smooth : null);
    put("log", log ? "true" : null);
    put("from", range && range[0]);
    put("to", range && range[1]);
    history.replaceState(null, "", url);
    for (const link of document.querySelectorAll(".tabs a")) {
      const to = new URL(link.href);
      if (!["curves", "system"].includes(to.searchParams.get("tab"))) continue;
      for (const name of ["x", "smooth", "log", "from", "to"]) url.searchParams.has(name) ? to.searchParams.set(name, url.searchParams.get(name)) : to.searchParams.delete(name);
      link.href = to;
    }
  };

  const ask = async element => {
    const { x } = choices();
    const query = new URLSearchParams();
    for (const run of runs) query.append("run_id", run.id);
    for (const key of JSON.parse(element.dataset.keys)) query.append("key", key);
    query.set("x", x === "step" ? "step" : "time");
    const series = runs.length * JSON.parse(element.dataset.keys).length;
    // Four points stand for each pixel column of a bucket: first, lowest, highest, last.
    query.set("points", Math.max(200, Math.min(2000, Math.round(element.clientWidth * (series > 6 ? 1 : 2)))));
    if (range && x !== "relative") { query.set("from", range[0]); query.set("to", range[1]); }
    const answer = await fetch(`/api/slipway/v1/metric-series?${query}`);
    const shown = element.closest("figure").querySelector("[data-shown]");
    if (!answer.ok) {
      shown.textContent = `cannot be read: ${(await answer.json()).detail ?? answer.status}`;
      return;
    }
    const { series: found } = await answer.json();
    loaded.set(element, found);
    const [all, drawn] = found.reduce(([a, b], one) => [a + one.count, b + one.x.length], [0, 0]);
    const gaps = found.reduce((sum, one) => sum + one.gaps, 0);
    const count = value => value.toLocaleString("en-US");
    shown.textContent = (drawn < all ? `showing ${count(drawn)} of ${count(all)} points` : "") + (gaps > 0 ? ` · ${count(gaps)} not a number` : "");
    draw(element);
  };

  const draw = element => {
    const { x, smooth, log } = choices();
    const chart = echarts.getInstanceByDom(element) ?? start(element);
    const found = loaded.get(element);
    const many = found.length > 1;
    const lines = found.flatMap((one, i) => {
      const place = runs.findIndex(run => run.id === one.run_id);
      const colour = colourOf(runs.length > 1 ? place : i);
      const points = one.x.map((at, j) => [x === "relative" ? (at - one.start_time_ms) / 1000 : at, log && one.y[j] !== null && one.y[j] <= 0 ? null : one.y[j]]);
      const name = runs.length > 1 ? (JSON.parse(element.dataset.keys).length > 1 ? `${one.run_name} ${one.key}` : one.run_name) : one.key;
      const style = { type: "line", showSymbol: points.length < 30, symbolSize: 5, connectNulls: false, color: colour, sampling: undefined, animation: false };
      const dashed = runs.length > 1 && place >= 10 ? "dashed" : "solid";
      const line = { ...style, name, data: smoothed(points, smooth), lineStyle: { width: 1.5, type: dashed }, z: 3 };
      return smooth > 0 ? [{ ...style, name: `${name} raw`, data: points, lineStyle: { width: 1, opacity: 0.25 }, showSymbol: false, silent: true, tooltip: { show: false }, z: 2 }, line] : [line];
    });
    const axis = axisStyle();
    const zoomed = range && x !== "relative";
    chart.setOption({
      animation: false, useUTC: true, backgroundColor: "transparent", textStyle: { fontFamily: "system-ui, sans-serif" },
      grid: { left: 8, right: 24, top: many ? 36 : 16, bottom: 28, containLabel: true },
      legend: many ? { type: "scroll", top: 0, left: 0, icon: "roundRect", itemHeight: 8, textStyle: { color: token("text"), fontSize: 12 }, data: lines.filter(line => !line.silent).map(line => line.name) } : undefined,
      tooltip: tooltip({ trigger: "axis", valueFormatter: value => value == null ? "–" : number(value) }),
      xAxis: {
        ...axis, type: x === "time" ? "time" : "value", name: x === "step" ? "step" : x === "relative" ? "seconds from the start of the run" : "UTC", nameLocation: "middle", nameGap: 24, splitLine: { show: false },
        axisLabel: x === "time" ? { ...axis.axisLabel, formatter: times } : axis.axisLabel, min: zoomed ? range[0] : "dataMin", max: zoomed ? range[1] : "dataMax",
      },
      yAxis: { ...axis, type: log ? "log" : "value", scale: true, axisLabel: axis.axisLabel },
      toolbox: { show: true, left: -200, feature: { dataZoom: { yAxisIndex: "none" } } },
      series: lines,
    }, true);
    chart.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
  };

  const start = element => {
    const chart = echarts.init(element, null, { renderer: "canvas" });
    chart.on("datazoom", event => {
      const part = event.batch?.[0];
      if (part?.startValue === undefined || choices().x === "relative") return;
      setRange([Math.floor(part.startValue), Math.ceil(part.endValue)]);
    });
    chart.getZr().on("dblclick", () => setRange(null));
    return chart;
  };

  // All charts show the same stretch of x.
  const setRange = next => {
    range = next && next[0] < next[1] ? next : null;
    reset.hidden = !range;
    keepInAddress();
    for (const element of loaded.keys()) ask(element);
  };

  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      ask(entry.target);
    }
  }, { rootMargin: "400px" });
  for (const element of curves.querySelectorAll("[data-curve]")) seen.observe(element);

  reset.hidden = !range;
  reset.addEventListener("click", () => setRange(null));
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", event => {
    form.querySelector("output").textContent = choices().smooth.toFixed(2);
    if (event.target.name === "x") {
      range = null;
      reset.hidden = true;
      keepInAddress();
      for (const element of loaded.keys()) ask(element);
      return;
    }
    keepInAddress();
    for (const element of loaded.keys()) draw(element);
  });
  onTheme(() => { for (const element of loaded.keys()) draw(element); });
}

// ---- Many runs at once ------------------------------------------------------------------------------------------------------
function onTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
}

function drawParallel(element) {
  const data = JSON.parse(element.nextElementSibling.textContent);
  const chart = echarts.getInstanceByDom(element) ?? echarts.init(element, null, { renderer: "canvas" });
  const last = data.columns[data.columns.length - 1];
  const values = last.values.filter(value => typeof value === "number");
  chart.setOption({
    animation: false, backgroundColor: "transparent", textStyle: { fontFamily: "system-ui, sans-serif" },
    parallel: { left: 48, right: 72, top: 32, bottom: 16, parallelAxisDefault: { nameTextStyle: { color: token("text"), fontSize: 12 }, nameGap: 12, axisLabel: { color: token("quiet"), fontSize: 12, formatter: value => typeof value === "number" ? number(value) : value }, axisLine: { lineStyle: { color: token("line-strong") } }, areaSelectStyle: { color: token("accent"), opacity: 0.2, borderColor: token("accent") } } },
    parallelAxis: data.columns.map((column, i) => column.words ? { dim: i, name: column.name, type: "category", data: column.words } : { dim: i, name: column.name, scale: true }),
    tooltip: tooltip({ trigger: "item", formatter: item => item.name }),
    visualMap: values.length > 1 && !last.words ? { show: false, dimension: data.columns.length - 1, min: Math.min(...values), max: Math.max(...values), inRange: { color: [token("line-strong"), token("accent")] } } : undefined,
    series: [{
      type: "parallel", smooth: false, lineStyle: { width: 1.5, opacity: data.names.length > 40 ? 0.5 : 0.8, color: token("accent") }, inactiveOpacity: 0.06, activeOpacity: 0.9,
      data: data.names.map((name, i) => ({ name, value: data.columns.map(column => column.values[i] ?? "-"), lineStyle: i === data.best ? { width: 3, opacity: 1 } : undefined })),
    }],
  }, true);
  chart.off("axisareaselected");
  chart.on("axisareaselected", () => {
    const picked = chart.getModel().getSeries()[0].getRawIndicesByActiveState("active");
    const all = picked.length === 0 || picked.length === data.names.length;
    element.closest("figure").querySelector("[data-brushed]").textContent = all ? "drag along an axis to pick runs; click an axis to let it go" : `${picked.length} of ${data.names.length}: ${picked.slice(0, 8).map(i => data.names[i]).join(", ")}${picked.length > 8 ? " …" : ""}`;
    const ids = new Set(picked.map(i => data.ids[i]));
    for (const row of document.querySelectorAll("tr[data-run]")) row.toggleAttribute("data-dimmed", !all && !ids.has(row.dataset.run));
  });
}

function drawScatter(element) {
  const data = JSON.parse(element.nextElementSibling.textContent);
  const chart = echarts.getInstanceByDom(element) ?? echarts.init(element, null, { renderer: "canvas" });
  const [x, y] = data.columns;
  const axis = axisStyle();
  chart.setOption({
    animation: false, backgroundColor: "transparent", textStyle: { fontFamily: "system-ui, sans-serif" },
    grid: { left: 8, right: data.names.length <= 20 ? 112 : 24, top: 28, bottom: 28, containLabel: true },
    tooltip: tooltip({ trigger: "item", formatter: item => `${data.names[item.value[2]]}\n${x.name} ${number(item.value[0])}\n${y.name} ${number(item.value[1])}` }),
    xAxis: { ...axis, type: "value", scale: true, name: x.name, nameLocation: "middle", nameGap: 24, splitLine: { show: false } },
    yAxis: { ...axis, type: "value", scale: true, name: y.name, nameTextStyle: { ...axis.nameTextStyle, align: "left" } },
    series: [{
      type: "scatter", symbolSize: data.names.length > 40 ? 7 : 10, color: token("accent"),
      label: data.names.length <= 20 ? { show: true, position: "right", formatter: item => data.names[item.value[2]], color: token("quiet"), fontSize: 11 } : undefined, labelLayout: { hideOverlap: true },
      data: data.names.map((name, i) => ({ value: [x.values[i], y.values[i], i], itemStyle: i === data.best ? { color: token("ok"), borderColor: token("text"), borderWidth: 1.5 } : undefined })).filter(point => point.value[0] !== null && point.value[1] !== null),
    }],
  }, true);
  chart.off("click");
  chart.on("click", item => location.assign(`/runs/${data.ids[item.value[2]]}`));
}

if (canDraw) {
  const drawMany = () => {
    document.querySelectorAll("[data-parallel]").forEach(drawParallel);
    document.querySelectorAll("[data-scatter]").forEach(drawScatter);
  };
  drawMany();
  if (document.querySelector("[data-parallel], [data-scatter]")) onTheme(drawMany);
  addEventListener("resize", () => {
    for (const element of document.querySelectorAll("[data-curve], [data-parallel], [data-scatter]")) echarts.getInstanceByDom(element)?.resize();
  });
}
