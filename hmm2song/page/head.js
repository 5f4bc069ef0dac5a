document.documentElement.classList.toggle("insecure", !window.isSecureContext);
if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) {
  // Browsers treat a hum as noise around speech: ask for the plain microphone, for Gradio's recorder too.
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (wanted) => {
    if (!wanted || !wanted.audio) return ask(wanted);
    return ask({...wanted, audio: {...(wanted.audio === true ? {} : wanted.audio), ...plain}});
  };
}
// Two parts of Gradio have another name than the words in them, which those who speak to their browser say (WCAG 2.5.3).
// Its messages are buttons around a button, and the keyboard does not reach what scrolls in its player.
new MutationObserver(() => {
  for (const part of document.querySelectorAll(":is(.upload-container, .playback)[aria-label]")) {
    part.title = part.ariaLabel;
    part.removeAttribute("aria-label");
  }
  for (const part of document.querySelectorAll(".toast-header[role]")) {
    for (const name of ["role", "tabindex"]) part.removeAttribute(name);
  }
  for (const wave of document.querySelectorAll("#waveform > div")) {
    wave.shadowRoot?.querySelector(".scroll")?.setAttribute("tabindex", 0);
  }
}).observe(document, {childList: true, subtree: true, attributes: true, attributeFilter: ["aria-label"]});
