"use strict";
// Filters of the transcript browser. The page is readable without it: all transcripts are shown.
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const all = [...document.querySelectorAll("details.transcript")];
  const count = document.getElementById("count");
  form.hidden = false;
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.text.trim().toLowerCase();
    let shown = 0;
    for (const one of all) {
      const data = one.dataset;
      const fits = ["agent", "env", "kind", "outcome"].every(
        (name) => !wanted[name] || data[name] === wanted[name],
      );
      one.hidden = !(fits && (!words || one.textContent.toLowerCase().includes(words)));
      shown += one.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${all.length} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
