"use strict";

// Zoom changes the size of the picture, and its frame scrolls: the browser's own scrolling, keys and touch keep working.
for (const frame of document.querySelectorAll("[data-lineage]")) {
  const scroll = frame.querySelector(".lineage-scroll");
  const svg = scroll.querySelector("svg");
  const { width, height } = svg.viewBox.baseVal;
  let scale = 1;

  function zoom(next, x = scroll.clientWidth / 2, y = scroll.clientHeight / 2) {
    next = Math.min(3, Math.max(0.1, next));
    // What is under the pointer stays there.
    const [atX, atY] = [(scroll.scrollLeft + x) / scale, (scroll.scrollTop + y) / scale];
    scale = next;
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
    scroll.scrollTo(atX * scale - x, atY * scale - y);
    level.textContent = `${Math.round(scale * 100)} %`;
  }

  const whole = () => zoom(Math.min(1, (scroll.clientWidth - 4) / width, (scroll.clientHeight || height) / height));
  const start = () => {
    const root = svg.querySelector(".root .frame");
    if (root) scroll.scrollTo(root.x.baseVal.value * scale - scroll.clientWidth / 2 + 92 * scale, root.y.baseVal.value * scale - scroll.clientHeight / 2 + 29 * scale);
  };

  const bar = document.createElement("div");
  bar.className = "zoom";
  const level = document.createElement("span");
  level.className = "mono quiet";
  level.setAttribute("aria-live", "polite");
  const button = (text, label, act) => {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = text;
    element.setAttribute("aria-label", label);
    element.addEventListener("click", act);
    return element;
  };
  bar.append(
    button("−", "Zoom out", () => zoom(scale / 1.25)), level, button("+", "Zoom in", () => zoom(scale * 1.25)),
    button("all", "Show all of the picture", whole), button("1:1", "Actual size, 1:1", () => { zoom(1); start(); }));
  frame.prepend(bar);

  scroll.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") zoom(scale * 1.25);
    else if (event.key === "-") zoom(scale / 1.25);
    else if (event.key === "0") whole();
    else if (event.key === "1") { zoom(1); start(); }
    else return;
    event.preventDefault();
  });
  // Without Ctrl the wheel scrolls the page, as everywhere.
  scroll.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = scroll.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  let from = null;
  scroll.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    from = { x: event.clientX, y: event.clientY, left: scroll.scrollLeft, top: scroll.scrollTop, moved: false };
  });
  addEventListener("pointermove", event => {
    if (!from) return;
    from.moved ||= Math.hypot(event.clientX - from.x, event.clientY - from.y) > 4;
    if (from.moved) scroll.scrollTo(from.left + from.x - event.clientX, from.top + from.y - event.clientY);
  });
  addEventListener("pointerup", () => setTimeout(() => { from = null; }));
  // A drag that began on a box is not a click on it.
  scroll.addEventListener("click", event => { if (from?.moved) event.preventDefault(); }, true);
  scroll.addEventListener("dragstart", event => event.preventDefault());

  zoom(1);
  if (width > scroll.clientWidth) {
    zoom(Math.max(0.6, (scroll.clientWidth - 4) / width));
    start();
  }
}
