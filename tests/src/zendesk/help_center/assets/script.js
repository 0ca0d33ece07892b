// What the theme's own scripts do to the request page.
"use strict";

for (const toggle of document.querySelectorAll("[aria-labelledby='request-sidebar-title']")) fold(toggle);

const details = document.getElementById("request-details");
if (details) addEventListener("load", () => setTimeout(showAnew, Number(details.dataset.after)));

function showAnew() {
  const fresh = details.querySelector("template").content.cloneNode(true);
  details.replaceChildren(fresh);
  for (const toggle of details.querySelectorAll("[aria-labelledby='request-sidebar-title']")) fold(toggle);
}

function fold(toggle) {
  toggle.addEventListener("click", () => {
    const isOpen = toggle.getAttribute("aria-expanded") === "true";
    toggle.setAttribute("aria-expanded", String(!isOpen));
    toggle.parentElement.setAttribute("aria-expanded", String(!isOpen));
  });
}
