// The winner's card: plays the match with a moving playhead, keeps what the visitor says, shares it.
// Runs inside its gr.HTML with `element`, `props` and `watch` of Gradio.
const $ = (selector) => element.querySelector(selector);
const words = () => props.words;
const span = () => $(".plot").dataset.span.split(" ").map(Number); // first second and length of what is drawn

function place() { // the playhead stands where the song is
  const audio = $("audio"), plot = $(".plot"), head = $(".head");
  if (!audio || !plot) return;
  const songS = Number(audio.dataset.from) + audio.currentTime, [first, length] = span();
  head.style.left = `${Math.min(100, Math.max(0, (songS - first) / length * 100))}%`;
  head.hidden = audio.paused && audio.currentTime <= Number(audio.dataset.at);
  if (!audio.paused) requestAnimationFrame(place);
}

function label() {
  const audio = $("audio"), play = $(".play");
  if (!play) return;
  play.classList.toggle("playing", !audio.paused);
  play.setAttribute("aria-label", audio.paused ? play.dataset.play : play.dataset.pause);
  place();
}

function card() {
  const {id, title, artist, percent} = $(".winner").dataset;
  return {id, title, artist, percent, at: Date.now()};
}

function link(id) {
  return `${location.origin}${location.pathname}?song=${encodeURIComponent(id)}`;
}

function note(text) {
  $(".said").textContent = text;
}

function picture() { // of the overlay, 1200 x 630 as link previews have it
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d"), {title, artist, percent} = card();
  Object.assign(canvas, {width: 1200, height: 630});
  const family = getComputedStyle(document.body).fontFamily, svg = $(".plot svg"), box = svg.viewBox.baseVal;
  pen.fillStyle = "#14132b";
  pen.fillRect(0, 0, 1200, 630);
  const fit = (text, size, y, colour) => {
    pen.fillStyle = colour;
    for (pen.font = `${size}px ${family}`; size > 20 && pen.measureText(text).width > 1080; size--) {
      pen.font = `bold ${size - 1}px ${family}`;
    }
    pen.fillText(text, 60, y);
  };
  fit(title, 64, 120, "#fff");
  fit([artist, percent && `${percent}%`].filter(Boolean).join(" · "), 34, 175, "#c9c6ff");
  const [sx, sy] = [1080 / box.width, 330 / box.height];
  for (const [name, colour, width] of [["song", "#8f97b5", 12], ["hum-line", "#8b7fff", 6]]) {
    const line = svg.querySelector("." + name);
    if (!line) continue;
    const path = new Path2D();
    path.addPath(new Path2D(line.getAttribute("d")), new DOMMatrix([sx, 0, 0, sy, 60 - box.x * sx, 220 - box.y * sy]));
    Object.assign(pen, {strokeStyle: colour, lineWidth: width, lineCap: "round", lineJoin: "round"});
    pen.stroke(path);
  }
  fit("Hmm2Song", 30, 600, "#c9c6ff");
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function share() {
  const {id, title} = card(), file = new File([await picture()], "hmm2song.png", {type: "image/png"});
  if (navigator.canShare && navigator.canShare({files: [file]})) {
    return navigator.share({files: [file], title, url: link(id)}).catch(() => {});
  }
  const save = Object.assign(document.createElement("a"), {href: URL.createObjectURL(file), download: file.name});
  save.click();
  setTimeout(() => URL.revokeObjectURL(save.href), 1000);
  note(words().saved);
}

const acts = {
  play() {
    const audio = $("audio");
    if (audio.paused) audio.play(); else audio.pause();
  },
  async link() {
    try {
      await navigator.clipboard.writeText(link(card().id));
      note(words().copied);
    } catch {
      note(link(card().id));
    }
  },
  share,
  like() {
    scrollTo(0, 0);
    trigger("like", {id: card().id});
  },
  yes: () => judge("yes"),
  no: () => judge("no"),
};

function judge(verdict) {
  element.querySelectorAll("[data-act=yes], [data-act=no]").forEach((each) => {
    each.setAttribute("aria-pressed", each.dataset.act === verdict);
  });
  document.dispatchEvent(new CustomEvent("judged", {detail: {...card(), verdict}}));
  note(words()[`said_${verdict}`]);
  if (verdict === "no") document.querySelector("#cards details.others")?.setAttribute("open", "");
}

element.addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]"), plot = event.target.closest(".plot"), audio = $("audio");
  if (act) acts[act.dataset.act]();
  else if (plot && audio) {
    const [first, length] = span(), box = plot.getBoundingClientRect();
    audio.currentTime = Math.max(0, first + (event.clientX - box.left) / box.width * length - Number(audio.dataset.from));
    place();
  }
});
for (const name of ["play", "pause", "ended", "seeked"]) element.addEventListener(name, label, true);
element.addEventListener("loadedmetadata", () => { $("audio").currentTime = Number($("audio").dataset.at); }, true);

watch("value", () => {
  if ($(".winner")?.dataset.heard) document.dispatchEvent(new CustomEvent("found", {detail: card()}));
});
