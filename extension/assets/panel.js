// The panel's page: loads the wasm module, which does the rest. Only what a person does counts, so made-up events stop here.

import './bridge.js';
import init, { startPanel } from './core.js';

for (const kind of ['click', 'keydown', 'input', 'change']) {
  addEventListener(kind, (event) => event.isTrusted || event.stopImmediatePropagation(), true);
}
// Escape closes the panel; the page around holds it. What it is told holds nothing worth hiding from any page.
addEventListener('keydown', (event) => event.key === 'Escape' && parent.postMessage({ deskbridge: 'close' }, '*'));

await init({ module_or_path: 'core_bg.wasm' });
startPanel();
