"use strict";
(() => {
  const form = document.getElementById("try");
  const $ = (id) => document.getElementById(id);
  const field = (name) => form.elements[name];
  const make = (tag, text, ...classes) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (classes.length) node.classList.add(...classes);
    return node;
  };
  let seen = null, chosen = null, marked = null, running = 0;

  // Everything typed is in the address, so that a link shows the same again.
  const remember = () => {
    const pairs = [["dictionary", field("dictionary").value], ["text", field("text").value]];
    if (field("latent").value) pairs.push(["change", [field("latent").value, field("operation").value, field("value").value].join(":")]);
    history.replaceState(null, "", "/try?" + new URLSearchParams(pairs));
  };
  const say = (words, bad) => { $("state").textContent = words; $("state").classList.toggle("bad", bad); };
  const operation_takes_value = () => field("operation").value !== "ablate_zero";
  const ask = async (path, body) => {
    const mine = ++running;
    say("the host is at work", false);
    try {
      const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      const found = answer.headers.get("content-type").startsWith("application/json") ? await answer.json() : { error: await answer.text() };
      if (mine !== running) return null;
      say(found.error || "", Boolean(found.error));
      return found.error ? null : found;
    } catch (error) {
      if (mine === running) say("The explorer does not answer: is it still running?", true);
      return null;
    }
  };

  const shade = (code, top) => "h" + Math.max(1, Math.min(9, Math.ceil(9 * code / (top || 1))));
  const paint = () => {
    const nodes = $("tokens").children;
    let top = 0;
    if (marked !== null) for (const token of seen.tokens) for (const [latent, code] of token.latents) if (latent === marked) top = Math.max(top, code);
    seen.tokens.forEach((token, i) => {
      nodes[i].className = "";
      const found = token.latents.find(([latent]) => latent === marked);
      if (found) nodes[i].classList.add(shade(found[1], top));
      if (i === chosen) nodes[i].classList.add("picked");
      nodes[i].setAttribute("aria-pressed", i === chosen);
    });
  };
  const row = (latent, code) => {
    const about = seen.features[latent], item = make("li");
    const pick = make("button", String(latent), "number");
    pick.type = "button";
    pick.setAttribute("aria-label", `feature ${latent}: shade its tokens and choose it for a change`);
    pick.setAttribute("aria-pressed", latent === marked);
    pick.addEventListener("click", () => { marked = latent; field("latent").value = latent; if (!field("value").value) suggest(about.max); remember(); list(); });
    item.append(pick, " ", make("span", code.toPrecision(3), "score"));
    const open = make("a", "open");
    open.href = `/feature/${encodeURIComponent(seen.dictionary)}/${latent}`;
    open.setAttribute("aria-label", `open feature ${latent}`);
    item.append(" ", open);
    if (about.text) item.append(make("span", about.text, "explanation"));
    if (about.example.length) {
      const line = make("span", undefined, "example");
      for (const [text, peak] of about.example) line.append(peak ? make("i", text, "h6", "peak") : text);
      item.append(line);
    }
    return item;
  };
  const suggest = (top) => { field("value").value = top ? Number(top.toPrecision(2)) : 5; aim(); };
  const list = () => {
    let found;
    if (chosen !== null) {
      $("at").textContent = `Active at ${seen.tokens[chosen].chip}`;
      found = seen.tokens[chosen].latents;
    } else {
      $("at").textContent = "Active features";
      const best = new Map();
      for (const token of seen.tokens) for (const [latent, code] of token.latents) best.set(latent, Math.max(code, best.get(latent) || 0));
      const share = ([latent, code]) => code / (seen.features[latent].max || code);
      found = [...best].sort((a, b) => share(b) - share(a)).slice(0, 20);
    }
    $("active").replaceChildren(...found.map(([latent, code]) => row(latent, code)));
    if (!found.length) $("active").append(make("li", chosen !== null && chosen < seen.unseen ? "The dictionary does not see the first positions of a text." : "None.", "note"));
    paint();
  };
  const look = async () => {
    if (!field("text").value) field("text").value = field("text").placeholder;
    remember();
    const found = await ask("/api/active", { text: field("text").value, dictionary: field("dictionary").value });
    if (!found) return false;
    seen = { ...found, dictionary: field("dictionary").value };
    chosen = null;
    marked = field("latent").value ? Number(field("latent").value) : null;
    $("tokens").replaceChildren(...seen.tokens.map((token, i) => {
      const node = make("button", token.text);
      node.type = "button";
      node.setAttribute("aria-label", `token ${i}: ${token.chip}`);
      node.addEventListener("click", () => { chosen = chosen === i ? null : i; list(); });
      return node;
    }));
    $("answer").hidden = false;
    list();
    return true;
  };

  const bar = (share, kind) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    node.setAttribute("viewBox", "0 0 100 6");
    node.setAttribute("preserveAspectRatio", "none");
    node.setAttribute("aria-hidden", "true");
    node.setAttribute("class", "share " + kind);
    const rect = document.createElementNS(node.namespaceURI, "rect");
    rect.setAttribute("width", Math.max(0.4, 100 * share));
    rect.setAttribute("height", 6);
    node.append(rect);
    return node;
  };
  const percent = (share) => share >= 0.001 ? (100 * share).toFixed(1) + " %" : share > 0 ? "< 0.1 %" : "0";
  const steer = async () => {
    if (!field("latent").value) { say("Choose a feature to change: type its number, or pick one below a text.", true); field("latent").focus(); return; }
    if (operation_takes_value() && !(field("value").value.trim() && Number.isFinite(Number(field("value").value)))) { say("The change needs a number, such as 20.", true); field("value").focus(); return; }
    if (!seen || seen.asked !== field("text").value) { if (!await look()) return; seen.asked = field("text").value; }
    remember();
    const operation = field("operation").value;
    const change = { latent: Number(field("latent").value), operation };
    if (operation_takes_value()) change.value = Number(field("value").value);
    const found = await ask("/api/steer", { text: field("text").value, dictionary: field("dictionary").value, changes: [change], new_tokens: Number(field("new").value) });
    if (!found) return;
    const table = make("table"), head = make("tr"), body = make("tbody");
    for (const words of ["token", "as it is", "changed", ""]) { const cell = make("th", words); if (words) cell.scope = "col"; head.append(cell); }
    const top = Math.max(...found.next.map((one) => Math.max(one.before, one.after)), 1e-9);
    for (const one of found.next) {
      const line = make("tr"), bars = make("td", undefined, "shares");
      bars.append(bar(one.before / top, "was"), bar(one.after / top, "is"));
      const name = make("th", one.text); name.scope = "row";
      line.append(name, make("td", percent(one.before)), make("td", percent(one.after), one.after > one.before ? "rises" : "falls"), bars);
      body.append(line);
    }
    const top_row = make("thead"); top_row.append(head);
    table.append(top_row, body);
    $("next").replaceChildren(table, make("p", `KL(as it is || changed) ${found.kl.toPrecision(3)} nats. ${found.edits.join("; ")}.`, "small"));
    $("before").textContent = found.before || "\u2013";
    $("after").textContent = found.after || "\u2013";
    $("moved").hidden = false;
  };

  const slider = $("slider");
  const aim = () => {
    const value = Number(field("value").value) || 0, reach = Math.max(20, 2 * Math.abs(value));
    slider.min = -reach; slider.max = reach; slider.step = reach / 40; slider.value = value;
  };
  const off = () => { const none = !operation_takes_value(); field("value").disabled = none; slider.disabled = none; };
  slider.addEventListener("input", () => { field("value").value = Number(Number(slider.value).toPrecision(3)); });
  slider.addEventListener("change", steer);
  field("value").addEventListener("change", aim);
  field("operation").addEventListener("change", off);
  field("latent").addEventListener("change", () => { marked = field("latent").value ? Number(field("latent").value) : null; remember(); if (seen) list(); });
  field("dictionary").addEventListener("change", () => { field("latent").value = ""; field("value").value = ""; if (seen) look(); });
  $("steer").addEventListener("click", steer);
  form.addEventListener("submit", async (event) => { event.preventDefault(); if (await look()) seen.asked = field("text").value; });
  field("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); } });
  aim();
  off();
  if (field("text").value) form.requestSubmit();
})();
