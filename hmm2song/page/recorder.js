// The round button: records, draws the pitch, sends chunks, shows the guesses, stops by itself.
// Runs inside its gr.HTML with `element`, `props`, `server`, `trigger` and `watch` of Gradio.
const $ = (selector) => element.querySelector(selector), root = document.getElementById("page");
const button = $(".hum"), say = $(".say"), canvas = $("canvas"), guesses = $(".guesses"), clock = $(".clock");
const FIRST_CHUNK_S = 1, GOAL_S = 10, SLOW_MS = 2500, GIVE_UP = 6, LOST_MS = 60000, DRAWN = 180, KEPT = "hmm2song-hum";
const WORKLET = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; } })`;
let run = null, kept = null; // the hum in progress; one without an answer, which can be sent again
const idle = hasMicrophone() ? "ready" : "ready_plain";
let state = "ready", line = idle, lost; // line: the words that stand while nothing is hummed, by name

function show(next, words) {
  state = next;
  const isOn = next === "asking" || next === "listening";
  root.toggleAttribute("humming", isOn || next === "searching");
  root.toggleAttribute("listening", next === "listening");
  for (const id of ["answer", "verdict", "cards"]) { // the old answer is dim, and nothing in it can be used
    document.getElementById(id)?.toggleAttribute("inert", root.hasAttribute("humming"));
  }
  root.toggleAttribute("small", root.hasAttribute("answered") && !root.hasAttribute("humming"));
  button.setAttribute("aria-pressed", isOn);
  clearTimeout(lost);
  if (next === "searching") lost = setTimeout(() => lose(run, "offline"), LOST_MS);
  $(".face").textContent = props.words[isOn ? "stop" : root.hasAttribute("answered") ? "new_hum" : "hum"];
  $(".cancel").hidden = !isOn;
  $(".more").hidden = isOn || next === "searching" || !props.can_join;
  if (words !== undefined) speak(words);
}

function speak(words) { // only when they change: a screen reader reads them out
  if (words !== say.textContent) say.textContent = words;
}

const home = () => root.hasAttribute("answered") ? "" : idle;

function rest(name) { // say why nothing is hummed, in whatever language is chosen meanwhile
  line = name;
  show("ready", props.words[name] ?? "");
}

function label() {
  for (const name of ["cancel", "upload"]) $("." + name).textContent = props.words[name];
  $(".more").textContent = props.words.once_more;
  $(".live").setAttribute("aria-label", props.words.live);
  $(".retry").textContent = props.words.retry;
  show(state, state === "ready" ? props.words[line] : undefined);
}

function hasMicrophone() {
  return Boolean(navigator.mediaDevices && navigator.mediaDevices.getUserMedia && window.AudioWorkletNode);
}

function unsent() {
  const id = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2) + Date.now();
  return {id, sent: 0, failures: 0, busy: false, ended: false};
}

async function start(again) {
  const mine = run = {again, pcm: new Float32Array(RATE_HZ * props.max_s), total: 0, pitches: [], ...unsent()};
  show("asking", props.words.asking);
  guesses.replaceChildren();
  clock.textContent = "";
  scrollTo(0, 0);
  mine.clicked = Date.now();
  try {
    mine.stream = await navigator.mediaDevices.getUserMedia({audio: {channelCount: 1}}); // head.js asks for it plain
    if (run !== mine) return free(mine); // cancelled while the question was open
    mine.context = new AudioContext(); // at its own rate: Firefox takes a microphone at no other
    await mine.context.resume();
    const url = URL.createObjectURL(new Blob([WORKLET], {type: "text/javascript"}));
    await mine.context.audioWorklet.addModule(url);
    URL.revokeObjectURL(url);
    if (run !== mine) return free(mine);
    const node = new AudioWorkletNode(mine.context, "tap"), resample = resampler(mine.context.sampleRate);
    node.port.onmessage = (event) => mine.done || feed(mine, resample(event.data));
    mine.context.createMediaStreamSource(mine.stream).connect(node).connect(mine.context.destination);
    mine.stream.getTracks()[0].onended = () => stop(mine);
    trigger("start", {run: mine.id, again});
    show("listening", props.words.listening);
    draw(mine);
  } catch (error) {
    free(mine);
    if (run !== mine) return;
    run = null;
    root.toggleAttribute("upload", true); // the other recorder, or a file; the button can be tried again
    rest(error.name === "NotAllowedError" ? "denied" : "no_microphone");
  }
}

function feed(mine, samples) {
  samples = samples.subarray(0, mine.pcm.length - mine.total);
  mine.pcm.set(samples, mine.total);
  mine.total += samples.length;
  for (let at; (at = mine.pitches.length * HOP) + FRAME <= mine.total;) {
    mine.pitches.push(pitchOf(mine.pcm.subarray(at, at + FRAME)));
  }
  send(mine);
  if (mine.total === mine.pcm.length) stop(mine);
}

// One request at a time: over a slow line chunks grow, and nothing is lost.
async function send(mine) {
  if (mine.busy) return;
  mine.busy = true;
  const chunkS = () => mine.total < props.first_s * RATE_HZ ? FIRST_CHUNK_S : props.every_s;
  while (!mine.ended && (mine.done || mine.total - mine.sent >= chunkS() * RATE_HZ)) {
    const slow = setInterval(() => state === "searching" && show(state, props.words.uploading), SLOW_MS);
    const isLast = mine.done, part = muLaw(mine.pcm.subarray(mine.sent, mine.total));
    const meta = {run: mine.id, at: mine.sent, language: props.language};
    const sent = {binary: true, data: {sound: new File([part], "hum"), meta: JSON.stringify(meta)}};
    const reply = part.length ? await server.hear(sent) : {n: mine.sent, guesses: []};
    clearInterval(slow);
    if (mine.ended) break; // cancelled or sent anew meanwhile
    if (!reply || reply.error) { // server functions answer undefined when anything fails
      if (++mine.failures > GIVE_UP || reply) { lose(mine, reply ? "busy" : "offline"); break; }
      if (state !== "asking") show(state, props.words.reconnecting);
      await new Promise((wake) => setTimeout(wake, 400 * mine.failures));
      continue;
    }
    if (mine.failures && state === "listening") show(state, props.words.listening);
    mine.failures = 0;
    mine.sent = Math.min(reply.n, mine.total);
    if (run === mine && !mine.done) tell(reply.guesses, reply.level);
    if (reply.stopped) { mine.sent = mine.total; stop(mine); }
    if (mine.done && (isLast || reply.stopped) && mine.sent >= mine.total) {
      mine.ended = true;
      trigger("done", {run: mine.id, again: mine.again});
      tellPlace(mine, Infinity);
    }
  }
  mine.busy = false;
}

// The queue serves in order: who comes last knows its place by its length, and it only gets better.
function tellPlace(mine, place) {
  setTimeout(async () => {
    const queue = await fetch("gradio_api/queue/status").then((reply) => reply.json()).catch(() => null);
    if (state !== "searching" || run !== mine) return;
    place = queue ? Math.min(place, queue.queue_size) : place;
    if (queue && place) show(state, props.words.waiting.replace("{n}", place));
    else speak(props.words[queue ? "searching" : "reconnecting"]); // the time until it counts as lost goes on
    tellPlace(mine, place);
  }, 1000);
}

function lose(mine, name) {
  free(mine);
  run = null;
  rest(name);
  keep(mine);
}

function keep(mine) { // the button sends all of it again, or the browser when it is online again
  mine.done = mine.ended = true;
  kept = mine;
  $(".retry").hidden = false;
}

function drop() {
  kept = null;
  $(".retry").hidden = true;
}

function resend() {
  if (!kept || run) return;
  run = {...kept, ...unsent()}; // the server may have forgotten it, and what is still under way is not waited for
  drop();
  show("searching", props.words.searching);
  send(run);
}

// Gradio loads the page anew when a connection that it lost is back. So the hum waits in this tab, 15 bits a sample.
function save() {
  const mine = run || kept;
  if (!mine?.total || !(mine.done || mine.failures)) return;
  const codes = Array.from(mine.pcm.subarray(0, mine.total), (x) => String.fromCharCode((x + 1) * 16383));
  sessionStorage.setItem(KEPT, codes.join(""));
}

function restore() {
  const codes = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  if (!codes) return;
  keep({pcm: Float32Array.from(codes, (code) => code.charCodeAt(0) / 16383 - 1), total: codes.length, again: false});
  const wait = setInterval(() => { // for the words of the visitor's language
    if (!document.querySelector("header")) return;
    clearInterval(wait);
    resend();
  }, 100);
}

function tell(list, level) {
  const best = list.length ? list[0].title : "";
  const words = best && (level === "found" ? props.words.guess_found : props.words.guess).replace("{title}", best);
  if (words) speak(words);
  guesses.replaceChildren(...list.map((guess) => {
    const row = document.createElement("li"), name = document.createElement("span"), sure = document.createElement("b");
    name.textContent = guess.title;
    sure.textContent = guess.percent + "%";
    row.style.setProperty("--sure", guess.percent + "%");
    row.append(name, sure);
    return row;
  }));
}

function draw(mine) {
  if (run !== mine || mine.done) return;
  if (!element.isConnected) return cancel();
  const seconds = mine.total / RATE_HZ, scale = window.devicePixelRatio || 1;
  button.style.setProperty("--done", Math.min(1, seconds / GOAL_S));
  const recent = mine.pitches.slice(-DRAWN), width = canvas.clientWidth, height = canvas.clientHeight;
  button.style.setProperty("--level", Math.min(1, (recent.at(-1)?.rms || 0) * 6).toFixed(2));
  clock.textContent = `${Math.floor(seconds)} / ${GOAL_S} s`;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d"), step = width / DRAWN;
  pen.scale(scale, scale);
  pen.strokeStyle = pen.fillStyle = getComputedStyle(button).backgroundColor;
  pen.lineWidth = 3;
  pen.lineCap = "round";
  pen.beginPath();
  const voiced = recent.filter((each) => each.hz).map((each) => 12 * Math.log2(each.hz)).sort((a, b) => a - b);
  const middle = voiced[voiced.length >> 1] || 0, range = 28;
  recent.forEach((each, i) => {
    const x = i * step, y = height / 2 - (12 * Math.log2(each.hz || 1) - middle) * height / range;
    pen.globalAlpha = 0.15;
    pen.fillRect(x, height - Math.min(1, each.rms * 6) * height * 0.4, step * 0.6, height);
    if (each.hz && recent[i - 1]?.hz && Math.abs(Math.log2(each.hz / recent[i - 1].hz)) < 0.1) pen.lineTo(x, y);
    else if (each.hz) pen.moveTo(x, y);
  });
  pen.globalAlpha = 1;
  pen.stroke();
  requestAnimationFrame(() => draw(mine));
}

function free(mine) {
  if (mine.stream) mine.stream.getTracks().forEach((track) => track.stop());
  if (mine.context && mine.context.state !== "closed") mine.context.close();
}

function stop(mine) {
  if (mine.done) return;
  mine.done = true;
  free(mine);
  if (!mine.total) return cancel();
  show("searching", props.words.searching);
  send(mine);
}

function cancel() {
  if (run) { run.ended = run.done = true; free(run); }
  run = null;
  rest(home());
  guesses.replaceChildren();
}

function press(again) {
  if (state === "searching") return;
  if (run) return Date.now() - run.clicked > 400 && (run.stream ? stop(run) : cancel()); // not on a double click
  drop();
  if (root.hasAttribute("nolive")) {
    root.toggleAttribute("upload", true);
    document.getElementById("recorder").scrollIntoView({block: "center"});
    return trigger("plain", {again});
  }
  start(again);
}

button.onclick = () => press(false);
$(".more").onclick = () => press(true);
$(".cancel").onclick = () => { cancel(); button.focus(); };
$(".retry").onclick = resend;
$(".upload").onclick = () => root.toggleAttribute("upload");
watch("words", label);
watch("can_join", () => show(state));
watch("answer", () => { // every search, with its own number
  const mine = run;
  run = null;
  guesses.replaceChildren();
  root.toggleAttribute("answered", props.answered);
  if (props.answered) {
    root.toggleAttribute("upload", false);
    scrollTo(0, 0); // to the winner
  }
  rest(home());
  if (props.answered) drop();
  else if (mine?.ended) keep(mine); // the queue was full, or the server was started anew
});
addEventListener("online", resend);
addEventListener("pagehide", save);
if (idle === "ready_plain") for (const name of ["nolive", "upload"]) root.toggleAttribute(name, true);
label();
restore();
