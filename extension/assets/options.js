// The options page: loads the wasm module, which does the rest.

import './bridge.js';
import init, { startOptions } from './core.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.setAttribute('data-scheme', dark.matches ? 'dark' : 'light');
dark.addEventListener('change', follow);
follow();

await init({ module_or_path: 'core_bg.wasm' });
startOptions();
