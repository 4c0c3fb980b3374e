"use strict";
(() => {
  const tip = document.getElementById("tip");
  const show = (event, text) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const above = event.clientY - box.height - 12;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (above > 4 ? above : event.clientY + 18) + "px";
  };
  const hide = () => { tip.hidden = true; };

  // Native titles wait a second and cannot be touched: say the same at once.
  const titled = ".chart .mark, .chart .bar, .example i, .effects span";
  const words = (node) => {
    const inner = node.querySelector(":scope > title");
    if (inner) { node.dataset.tip = inner.textContent; inner.remove(); }
    if (node.hasAttribute("title")) { node.dataset.tip = node.title; node.removeAttribute("title"); }
    return node.dataset.tip;
  };
  document.addEventListener("pointerover", (event) => {
    const node = event.target.closest(titled);
    if (node) show(event, words(node)); else if (!event.target.closest(".lines")) hide();
  });
  document.addEventListener("scroll", hide, { passive: true });

  // Line charts: the nearest logged point of any line.
  for (const svg of document.querySelectorAll(".lines")) {
    let curves = null;
    const read = () => [...svg.querySelectorAll("polyline")].map((line) => ({
      name: line.dataset.name,
      values: JSON.parse(line.dataset.values),
      places: line.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number)),
    }));
    const dot = document.createElementNS(svg.namespaceURI, "circle");
    dot.setAttribute("r", "3.5");
    dot.setAttribute("class", "mark c0");
    svg.addEventListener("pointermove", (event) => {
      curves = curves || read();
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = null;
      for (const curve of curves) curve.places.forEach(([x, y], i) => {
        const far = Math.hypot(x - at.x, y - at.y);
        if (!best || far < best.far) best = { far, x, y, curve, i };
      });
      if (!best || best.far > 40) { dot.remove(); hide(); return; }
      dot.setAttribute("cx", best.x);
      dot.setAttribute("cy", best.y);
      svg.append(dot);
      const [x, y] = best.curve.values[best.i];
      show(event, `${best.curve.name}\n${y} at ${x}`);
    });
    svg.addEventListener("pointerleave", () => { dot.remove(); hide(); });
  }

  const filter = document.getElementById("filter");
  if (filter) {
    const cards = [...document.querySelectorAll(".card")];
    const found = document.getElementById("found");
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      let count = 0;
      for (const card of cards) {
        card.hidden = wanted !== "" && !card.dataset.search.includes(wanted);
        count += !card.hidden;
      }
      for (const group of document.querySelectorAll(".dictionary")) {
        const any = group.querySelector(".card:not([hidden])") !== null;
        group.hidden = !any;
        if (wanted && any) group.open = true;
      }
      found.textContent = wanted ? `${count} of ${cards.length} features` : "";
    });
  }

  const links = [...document.querySelectorAll(".toc a")];
  if (links.length && "IntersectionObserver" in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting)
        for (const link of links) link.classList.toggle("here", link.hash === "#" + entry.target.id);
    }, { rootMargin: "-10% 0px -80% 0px" });
    for (const section of document.querySelectorAll("main section")) seen.observe(section);
  }
})();
