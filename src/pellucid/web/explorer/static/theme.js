"use strict";
// Before the first paint, so that nothing flashes. Without a choice the system's setting holds.
(() => {
  const root = document.documentElement;
  const set = (theme) => { if (theme === "light" || theme === "dark") root.dataset.theme = theme; };
  try { set(localStorage.getItem("theme")); } catch { /* pages from disk may have no storage */ }
  window.toggleTheme = () => {
    const dark = getComputedStyle(root).colorScheme.trim() === "dark" ||
      (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    set(dark ? "light" : "dark");
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* the choice lasts for this page */ }
  };
})();
