// The panel's page: loads the wasm module, which does the rest. Only what a person does on a panel he sees counts; the rest stops here.

import './bridge.js';
import init, { sayCovered, startPanel } from './core.js';

// So long nothing may have lain over the panel when it is pressed.
const MOMENT = 500;
const LOOK_AGAIN = 250;
const html = document.documentElement;

// The script that holds this frame hands in a port. What goes through it is heard by nobody else, and holds nothing worth hiding.
const port = new Promise((resolve) => addEventListener('message', ({ ports }) => ports.length > 0 && resolve(ports[0])));
globalThis.deskbridge.tellPage = async (message) => (await port).postMessage(message);

// A page can lay a bait over this frame, or make it see-through. Only Chromium says whether one does.
if ('isVisible' in IntersectionObserverEntry.prototype) {
  let timer = 0;
  const observer = new IntersectionObserver(look, { trackVisibility: true, delay: 100 });
  observer.observe(html);

  function look(entries) {
    clearTimeout(timer);
    html.removeAttribute('data-in-sight');
    timer = entries.at(-1).isVisible ? setTimeout(() => html.setAttribute('data-in-sight', ''), MOMENT) : setTimeout(lookAgain, LOOK_AGAIN);
  }

  // On a page that comes to rest, as after another tab, Chromium does not tell by itself that nothing is in the way any more.
  function lookAgain() {
    observer.disconnect();
    observer.observe(html);
  }
} else {
  html.setAttribute('data-in-sight', '');
}

const isPress = ({ type, key }) => type === 'click' || type === 'auxclick' || (type === 'keydown' && key === 'Enter');
for (const kind of ['click', 'auxclick', 'keydown', 'input', 'change']) {
  const sieve = (event) => {
    const isCovered = event.isTrusted && isPress(event) && !html.hasAttribute('data-in-sight');
    if (event.isTrusted && !isCovered) return;
    event.stopImmediatePropagation();
    if (!isCovered) return;
    event.preventDefault();
    sayCovered();
  };
  addEventListener(kind, sieve, true);
}
addEventListener('keydown', (event) => event.key === 'Escape' && globalThis.deskbridge.tellPage({ close: true }));

await init({ module_or_path: 'core_bg.wasm' });
startPanel();
