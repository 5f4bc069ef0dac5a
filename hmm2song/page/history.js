// What was found here before: kept in this browser alone, and only while its switch is on.
const NAME = "hmm2song-history", OFF = "hmm2song-history-off", MOST = 50;
const list = element.querySelector("ol"), keep = element.querySelector("input"), none = element.querySelector(".none");

function read() {
  try { return JSON.parse(localStorage.getItem(NAME)) || []; } catch { return []; }
}

function write(rows) {
  try { localStorage.setItem(NAME, JSON.stringify(rows.slice(0, MOST))); } catch { /* private windows may refuse */ }
  show();
}

function isOn() {
  try { return !localStorage.getItem(OFF); } catch { return false; }
}

function show() {
  const rows = read();
  for (const part of element.querySelectorAll("[data-word]")) part.textContent = props.words[part.dataset.word] || "";
  keep.checked = isOn();
  none.hidden = rows.length > 0;
  element.querySelector("button").hidden = rows.length === 0;
  list.replaceChildren(...rows.map((row) => {
    const item = document.createElement("li"), link = document.createElement("a"), rest = document.createElement("span");
    link.href = `?song=${encodeURIComponent(row.id)}`;
    link.textContent = row.title;
    const mark = {yes: " ✓", no: " ✗"}[row.verdict] || "";
    const artist = row.artist && `\u2068${row.artist}\u2069`; // written from the right, it turns no numbers round
    link.dir = "auto";
    rest.textContent = ` ${[artist, `${row.percent}%`, new Date(row.at).toLocaleString()].filter(Boolean).join(" · ")}${mark}`;
    item.append(link, rest);
    return item;
  }));
}

document.addEventListener("found", (event) => isOn() && write([event.detail, ...read()]));
document.addEventListener("judged", (event) => {
  if (!isOn()) return;
  const rows = read(), {id, verdict} = event.detail, known = rows.find((row) => row.id === id);
  if (known) known.verdict = verdict; else rows.unshift(event.detail);
  write(rows);
});
keep.onchange = () => {
  try { if (keep.checked) localStorage.removeItem(OFF); else { localStorage.setItem(OFF, "1"); localStorage.removeItem(NAME); } } catch { /* as above */ }
  show();
};
element.querySelector("button").onclick = () => write([]);
watch("words", show);
show();
