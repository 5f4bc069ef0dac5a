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
// Gradio's upload area has another name than the words in it, which those who speak to their browser say (WCAG 2.5.3).
new MutationObserver(() => {
  for (const area of document.querySelectorAll(".upload-container[aria-label]")) area.removeAttribute("aria-label");
}).observe(document, {childList: true, subtree: true});
