"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const help = $("#help");
  $("#theme").addEventListener("click", toggleTheme);
  $("#help-open").addEventListener("click", () => help.showModal());

  // The list is searched while one types; the address follows, so a copied link shows the same.
  const form = $("#search");
  let latest = 0;
  const show = async (address, push) => {
    const mine = ++latest;
    let html;
    try {
      const answer = await fetch(address);
      html = await answer.text();
    } catch { location.href = address; return; }
    if (mine !== latest) return;
    const page = new DOMParser().parseFromString(html, "text/html");
    const found = page.querySelector("#found");
    if (!found) { location.href = address; return; }
    $("#found").replaceWith(document.adoptNode(found));
    await_examples();
    if (push) history.pushState(null, "", address); else history.replaceState(null, "", address);
  };
  // Right after a start the examples are still being read: what waits for them is fetched again.
  const await_examples = () => { if ($("#found[data-reading]")) setTimeout(() => show(location.href, false), 600); };
  await_examples();
  const address = () => {
    const pairs = [...new FormData(form)].filter(([key, value]) =>
      value !== "" && !(key === "in" && value === "all") && key !== "column" && key !== "from" && key !== "to");
    const data = new FormData(form);
    const from = data.get("from"), to = data.get("to");
    if (from || to) pairs.push(["f", [data.get("column"), from, to].join(":")]);
    const query = new URLSearchParams(pairs).toString();
    return form.getAttribute("action") + (query ? "?" + query : "");
  };
  if (form && !("static" in form.dataset)) {
    let timer = 0;
    form.addEventListener("input", (event) => {
      if (!event.target.matches("[data-search]")) return;
      clearTimeout(timer);
      timer = setTimeout(() => show(address(), false), 150);
    });
    form.addEventListener("change", (event) => { if (event.target.matches("[name=in], [name=sort], [name=by]")) show(address(), true); });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); location.href = address(); });
    addEventListener("popstate", () => location.reload());
  }

  // Exported lists are whole: searched and sorted here.
  if (form && "static" in form.dataset) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const values = new Map(rows.map((row) => [row, JSON.parse(row.dataset.value)]));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      const wanted = $("[data-search]").value.trim().toLowerCase();
      let count = 0;
      for (const row of rows) {
        row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
        count += !row.hidden;
      }
      $("[data-count]").textContent = count.toLocaleString("en");
    });
    for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => {
      const head = button.closest("th"), key = button.dataset.sort;
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      rows.sort((a, b) => {
        const x = values.get(a)[key], y = values.get(b)[key];
        return x === null ? 1 : y === null ? -1 : sign * (x - y);
      });
      rows[0].parentNode.append(...rows);
    });
  }

  // A long matching is looked after until it is there.
  const matching = $("#matching");
  if (matching) {
    const query = new URLSearchParams({ a: matching.dataset.a, b: matching.dataset.b });
    const look = async () => {
      try {
        const { done, error } = await (await fetch("/api/matching?" + query)).json();
        if (error) { matching.textContent = error; return; }
        if (done >= 1) { location.reload(); return; }
        matching.querySelector("progress").value = done;
      } catch { /* the server stopped: nothing to show */ }
      setTimeout(look, 700);
    };
    setTimeout(look, 700);
  }

  const go = (selector) => { const link = $(selector); if (link && link.getAttribute("href")) link.click(); };
  const move = (step) => {
    const rows = [...document.querySelectorAll("[data-row]:not([hidden])")];
    const here = rows.findIndex((row) => row.classList.contains("here"));
    const next = rows[Math.max(0, Math.min(rows.length - 1, here + step))];
    if (!next) return;
    if (here >= 0) rows[here].classList.remove("here");
    next.classList.add("here");
    next.scrollIntoView({ block: "nearest" });
    const link = next.querySelector("a");
    if (link) link.focus({ preventScroll: true });
  };
  const keys = {
    j: () => move(1), k: () => move(-1), n: () => go("a[rel=next]"), p: () => go("a[rel=prev]"), u: () => go("a[rel=up]"),
    d: toggleTheme, "?": () => help.showModal(),
    "/": () => {
      const search = $("[data-search]");
      if (search) { search.focus(); search.select(); } else go("nav [data-key=f]");
    },
  };
  for (const letter of "ofct") keys[letter] = () => go(`main [data-key=${letter}], .menubar [data-key=${letter}]`);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.closest("input, textarea, select")) { if (event.key === "Escape") event.target.blur(); return; }
    const action = keys[event.key];
    if (action) { event.preventDefault(); action(); }
  });
})();
