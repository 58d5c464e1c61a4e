"use strict";

// ---- Help, theme, copying -------------------------------------------------------------------------------------------
const announce = text => { document.getElementById("announce").textContent = text; };

document.addEventListener("click", async event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy !== undefined) {
    await navigator.clipboard?.writeText(button.dataset.copy);
    announce(`Copied ${button.dataset.copy}`);
  } else if (button.dataset.csv !== undefined) {
    saveCsv(button.closest("details").querySelector("table"), button.dataset.csv);
  } else if (button.dataset.help !== undefined) {
    document.getElementById("help").showModal();
  } else if (button.dataset.themeSwitch !== undefined) {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("slipway-theme", document.documentElement.dataset.theme);
    drawCharts();
  }
});

function saveCsv(table, name) {
  const quote = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = [...table.rows].map(row => [...row.cells].map(cell => quote(cell.textContent.trim())).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = `${time.dateTime.replace("T", " ")} · here ${new Date(time.dateTime).toLocaleString()}`;
  }
}

// ---- Keyboard -------------------------------------------------------------------------------------------------------
let gAt = -Infinity; // When 'g' was pressed, by the browser's clock: a busy page must not eat the second key.

function rows() {
  return [...document.querySelectorAll("tr[data-row]")];
}

function moveRow(step) {
  const all = rows();
  if (all.length === 0) return;
  const now = all.findIndex(row => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  next.querySelector("a")?.focus();
}

document.addEventListener("keydown", event => {
  const typing = event.target.closest?.("input, textarea, select, dialog[open]");
  if ((event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing)) {
    event.preventDefault();
    document.getElementById("search").focus();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.timeStamp - gAt < 3000) {
    gAt = -Infinity;
    const entry = document.querySelector(`.rail a[data-key="${CSS.escape(event.key)}"]`);
    if (entry) location.assign(entry.href);
    return;
  }
  switch (event.key) {
    case "g": gAt = event.timeStamp; break;
    case "j": moveRow(1); break;
    case "k": moveRow(-1); break;
    case "x": document.activeElement.closest("tr[data-row]")?.querySelector("input[type=checkbox]")?.click(); break;
    case "c": document.querySelector("form[data-compare]")?.requestSubmit(); break;
    case "?": document.getElementById("help").showModal(); break;
  }
});

// ---- Live parts: asked for again while somebody looks ------------------------------------------------------------------
setInterval(() => {
  if (document.hidden) return;
  // A focused link inside would be lost with the swap.
  for (const part of document.querySelectorAll("[data-live]")) {
    if (!part.contains(document.activeElement)) part.dispatchEvent(new CustomEvent("tick"));
  }
}, 2000);
document.addEventListener("htmx:after:swap", () => localTimes(document));

// ---- Charts -----------------------------------------------------------------------------------------------------------
const token = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 999_500) return `${+(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return `${+value.toPrecision(4)}`;
}

const times = {
  year: "{yyyy}", month: "{yyyy}-{MM}", day: "{MM}-{dd}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}", millisecond: "{HH}:{mm}:{ss}",
};

function option(data) {
  const quiet = token("quiet");
  const axis = {
    nameTextStyle: { color: quiet, fontSize: 12 }, axisLabel: { color: quiet, fontSize: 12, hideOverlap: true },
    axisLine: { lineStyle: { color: token("line-strong") } }, splitLine: { lineStyle: { color: token("line"), width: 0.5 } },
  };
  const bars = data.kind === "bar";
  const limits = data.thresholds.map(limit => ({
    yAxis: limit.value, lineStyle: { color: token(limit.colour), type: "dashed", width: 1.5 },
    label: { formatter: `${limit.name} ${number(limit.value)}`, color: token(limit.colour), position: "insideEndTop", fontSize: 12 },
  }));
  // Limits belong on the picture even where the data keep away from them.
  const highest = Math.max(...data.thresholds.map(limit => limit.value));
  const lowest = Math.min(...data.thresholds.map(limit => limit.value));
  const room = extent => (Math.max(extent.max, highest) - Math.min(extent.min, lowest)) * 0.05;
  return {
    animation: false,
    useUTC: true,
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif" },
    grid: { left: 8, right: 24, top: data.series.length > 1 ? 40 : 24, bottom: 28, containLabel: true },
    legend: data.series.length > 1 ? { top: 0, left: 0, icon: "roundRect", itemHeight: 8, textStyle: { color: token("text"), fontSize: 12 } } : undefined,
    // Drawn on the canvas: HTML tips would need inline styles, which the page's policy forbids.
    tooltip: {
      trigger: "axis", renderMode: "richText", confine: true, backgroundColor: token("panel"), borderColor: token("line-strong"),
      textStyle: { color: token("text"), fontSize: 12 }, valueFormatter: value => value == null ? "–" : number(value),
    },
    xAxis: {
      ...axis, type: bars ? "category" : data.time ? "time" : "value", data: bars ? data.categories : undefined, name: data.x, nameLocation: "middle", nameGap: 28,
      axisLabel: data.time ? { ...axis.axisLabel, formatter: times } : bars ? axis.axisLabel : { ...axis.axisLabel, formatter: number },
      splitLine: { show: false }, min: bars || data.time ? undefined : "dataMin", max: bars || data.time ? undefined : "dataMax",
    },
    yAxis: {
      ...axis, type: "value", name: data.y, nameTextStyle: { color: quiet, fontSize: 12, align: "left" }, nameGap: 8, scale: data.minimum == null,
      min: data.minimum ?? (extent => lowest < extent.min ? lowest - room(extent) : null), max: extent => highest > extent.max ? highest + room(extent) : null,
      axisLabel: { ...axis.axisLabel, formatter: number, showMinLabel: data.minimum != null, showMaxLabel: data.thresholds.length === 0 },
    },
    dataZoom: bars || data.series.every(series => series.points.length < 20) ? [] : [{ type: "inside", filterMode: "none" }],
    series: data.series.map((series, i) => ({
      name: series.name, type: bars ? "bar" : "line", showSymbol: series.points.length < 20, symbolSize: 5, connectNulls: false,
      stack: data.kind === "area" ? "all" : undefined, areaStyle: data.kind === "area" ? { opacity: 0.35 } : undefined,
      lineStyle: { width: 1.5 }, color: token(series.colour), barMaxWidth: 28,
      data: series.points.map(point => bars ? point.y : [point.x, point.y]),
      markLine: i === 0 && limits.length > 0 ? { symbol: "none", silent: true, precision: 9, data: limits } : undefined,
    })),
  };
}

function drawCharts() {
  if (typeof echarts === "undefined") return;
  for (const element of document.querySelectorAll("[data-chart]")) {
    const chart = echarts.getInstanceByDom(element) ?? echarts.init(element, null, { renderer: "canvas" });
    chart.setOption(option(JSON.parse(element.nextElementSibling.textContent)), true);
  }
}

addEventListener("resize", () => {
  if (typeof echarts === "undefined") return;
  for (const element of document.querySelectorAll("[data-chart]")) echarts.getInstanceByDom(element)?.resize();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
localTimes(document);
drawCharts();
