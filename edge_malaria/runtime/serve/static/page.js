"use strict";
// Every page works without this file; it saves taps.

document.documentElement.classList.add("scripted");

// The language changes as soon as another one is chosen.
const language = document.getElementById("language");
if (language) {
  language.addEventListener("change", () => language.form.submit());
}

// Keys: whatever names a key is pressed by it.
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const found = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (found) {
    event.preventDefault();
    found.click();
  }
});

// A form is sent once, however often a thumb hits the button.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// The live page: values and picture follow the slide.
const live = document.querySelector("[data-live]");
if (live) {
  const frame = live.querySelector(".frame");
  let shown = 0;
  const follow = async () => {
    try {
      const answer = await fetch(live.dataset.live, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const values = await answer.json();
      if (values.state !== "running") {
        location.reload();
        return;
      }
      for (const part of live.querySelectorAll("[data-value]")) {
        const text = values[part.dataset.value];
        if (text !== undefined && part.textContent !== text) part.textContent = text;
      }
      if (values.frame && values.frame !== shown && (frame.complete || !frame.getAttribute("src"))) {
        shown = values.frame;
        frame.src = `${live.dataset.frame}?${shown}`;
      }
    } catch (error) {
      // The device may be starting again: try on.
    }
    setTimeout(follow, 1000);
  };
  follow();
}
