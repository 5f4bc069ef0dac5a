// The Explore tab's lists and its map: asks for songs like one, plays a song at a place, walks over the map.
// Runs inside its gr.HTML with `element`, `props`, `trigger` and `watch` of Gradio.
const sound = new Audio(), events = ["like", "goal"];
const $ = (selector) => element.querySelector(selector);
let pressed = null, played = "", spot = -1; // the button, what it plays, and the point of the map that is chosen

function ask(name, id) { // the list is replaced: who asked goes on from the top of the tab
  document.querySelector("#tabs [role=tab][aria-selected=true]").focus();
  scrollTo(0, 0);
  trigger(name, {id});
}

function label() {
  if (!pressed) return;
  pressed.classList.toggle("playing", !sound.paused);
  pressed.setAttribute("aria-label", sound.paused ? pressed.dataset.play : pressed.dataset.pause);
}

function hear(button) {
  const wanted = `${button.dataset.hear} ${button.dataset.at}`; // a button below the map is for one song after another
  if (button === pressed && wanted === played && sound.src) return sound.paused ? sound.play() : sound.pause();
  sound.pause();
  sound.removeAttribute("src");
  [pressed, played] = [button, wanted];
  trigger("hear", {id: button.dataset.hear, at: Number(button.dataset.at)});
}

watch("sound", () => {
  if (!props.sound.src || !pressed) return;
  sound.src = props.sound.src;
  sound.currentTime = props.sound.at;
  sound.play();
});
for (const name of ["play", "pause", "ended"]) sound.addEventListener(name, label);

const points = () => ($(".map").known ||= JSON.parse($(".map").dataset.points));

function show(number) { // a point of the map, and what it is
  const [x, y, , words] = points()[number], mark = $(".spot");
  mark.hidden = false;
  Object.assign(mark.style, {left: `${x / 10}%`, top: `${y / 10}%`});
  $(".spot-words").textContent = words;
}

function choose(number) { // what the buttons below the map are for
  show(spot = number);
  const buttons = $(".spot-acts");
  buttons.hidden = false;
  for (const button of buttons.children) for (const name in button.dataset) {
    if (["like", "goal", "hear"].includes(name)) button.dataset[name] = points()[number][2];
  }
}

function nearest(x, y, allows = () => true) { // in units of the map, a thousand each way
  const box = $(".map").getBoundingClientRect(), far = ([px, py]) => Math.hypot((px - x) * box.width, (py - y) * box.height);
  return points().reduce((best, point, number) => allows(point, number) && (best < 0 || far(point) < far(points()[best]))
    ? number : best, -1);
}

const under = (event) => {
  const box = $(".map").getBoundingClientRect();
  return nearest((event.clientX - box.left) / box.width * 1000, (event.clientY - box.top) / box.height * 1000);
};
const ahead = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

element.addEventListener("keydown", (event) => {
  if (!event.target.matches(".map")) return;
  const way = ahead[event.key];
  if (way) {
    const from = points()[Math.max(spot, 0)];
    const next = spot < 0 ? Math.max(0, Number($(".map").dataset.start)) : nearest(from[0], from[1], ([x, y], number) => {
      const forth = (x - from[0]) * way[0] + (y - from[1]) * way[1], aside = (x - from[0]) * way[1] + (y - from[1]) * way[0];
      return number !== spot && forth > 0 && forth >= Math.abs(aside);
    });
    if (next >= 0) choose(next);
  } else if (event.key === "Enter" && spot >= 0) ask("like", points()[spot][2]);
  else return;
  event.preventDefault();
});
element.addEventListener("pointermove", (event) => { if (event.target.closest(".map")) show(under(event)); });
element.addEventListener("pointerout", (event) => { if (event.target.closest(".map") && spot >= 0) show(spot); });
element.addEventListener("click", (event) => {
  const button = event.target.closest("button"), map = event.target.closest(".map");
  if (map) choose(under(event));
  else if (button?.dataset.hear) hear(button);
  else for (const name of events) if (button?.dataset[name]) ask(name, button.dataset[name]);
});
watch("value", () => {
  spot = -1;
  sound.pause();
  pressed = null;
  if ($(".map") && $(".map").dataset.start >= 0) choose(Number($(".map").dataset.start));
});
