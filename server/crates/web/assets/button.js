// The customer's button in a Help Center: opens a support chat about the request on this page.
// It is served below 10,000 bytes, without its comments and indentation.

(() => {

const TEXTS = /*TEXTS*/{};
const script = document.currentScript;
const { connection = '', locale = document.documentElement.lang, ticket: given } = script.dataset;
const isGiven = /^\d+$/.test(given);
const ticket = isGiven ? given : location.pathname.match(/^\/hc\/(?:[\w-]+\/)?requests\/(\d+)\/?$/)?.[1];
if (!ticket) return;

const server = (path) => new URL(path, script.src).href;
const request = `/api/v2/requests/${ticket}.json`;
const builtIn = TEXTS[locale.slice(0, 2)] ?? TEXTS.en ?? {};
let ownPlace = isGiven && script.closest('body') && script;

// One button for each connection and ticket; a later script can only give it a place.
const name = `deskbridge-chat-${connection}-${ticket}`;
const buttons = (window.deskbridgeButtons = window.deskbridgeButtons ?? {});
if (buttons[name]) return buttons[name](ownPlace);
buttons[name] = (place) => {
  ownPlace = ownPlace || place;
  settleSoon();
};

const state = { phase: 'checking', offer: {}, chat: null, frame: null, minutes: 0 };

// The phases with a button: its text, and what a press does.
const BUTTONS = {
  ready: ['start', start],
  opening: ['start'],
  wait: ['start'],
  open: ['show', () => state.chat.focus()],
  failed: ['retry', start],
  unavailable: ['retry', load],
};

// By status, or the end of the problem's type.
const REFUSALS = new Map([
  ['429', 'wait'], ['not-your-ticket', 'not_yours'], ['ticket-closed', 'closed'], ['invalid-value', 'unavailable'],
]);

// The button has the text's color; its label is black or white by luminance (y), 4.5:1 at least.
const STYLE = `
  :host { display: block; max-inline-size: 20rem; margin-block: 1rem }
  :host([hidden]) { display: none }
  :host(.floating) { position: fixed; z-index: 9999; inset-block-end: 0; inset-inline-end: 1rem; max-inline-size: 16rem;
    padding: 1rem; border: 1px solid; border-radius: 8px; background: Canvas; color: CanvasText }
  :host(.themed) { background-color: inherit; color: inherit }
  select, button { inline-size: 100%; min-block-size: 44px; padding: .5rem; border: 1px solid; border-radius: 4px;
    background: none; color: inherit; font: inherit }
  label:not([hidden]) { display: block }
  select { margin-block: .25rem .75rem }
  option { background: Canvas; color: CanvasText }
  button { font-weight: 600 }
  p { margin-block: .5rem 0 }
  :focus-visible { outline: 3px solid; outline-offset: 2px }
  [aria-disabled=false]:hover { text-decoration: underline }
  @supports (color: color(from currentColor xyz x y z)) {
    [aria-disabled=false] { background: currentColor }
    [aria-disabled=false] span { --w: calc((.179 - y) * 1e9); color: color(from currentColor xyz var(--w) var(--w) var(--w)) }
  }`;

const [host, label, caption, select, button, action, message] =
  ['deskbridge-chat', 'label', 'span', 'select', 'button', 'span', 'p'].map((each) => document.createElement(each));
const root = host.attachShadow({ mode: 'open' });

function render() {
  const { phase } = state;
  const [title, press] = BUTTONS[phase] ?? [];
  const focused = root.activeElement;
  // In the corner it covers the page, and waits until there is something to say.
  host.hidden = phase === 'hidden' || (phase === 'checking' && host.matches('.floating'));
  label.hidden = !/ready|opening|wait|failed/.test(phase) || select.length < 2;
  say(caption, text('issue_label'));
  button.hidden = !title;
  button.ariaDisabled = !press;
  button.ariaBusy = phase === 'opening';
  say(action, text(title));
  say(message, text(phase === 'ready' ? 'ready_hint' : phase).replace('{minutes}', state.minutes));
  if (focused && (focused !== select || label.hidden)) (button.hidden ? message : button).focus();
}

// What has not changed is not read out again.
function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function text(key) {
  return state.offer.texts?.[key] ?? builtIn[key] ?? '';
}

function enter(phase) {
  state.phase = phase;
  render();
  if (phase === 'nobody') setTimeout(lookAgain, 60000);
  if (phase === 'wait') setTimeout(enter, state.minutes * 60000, 'ready');
}

// Once a frame at most: a theme, or the button of another connection, may move things about, too.
function settleSoon() {
  state.frame = state.frame ?? requestAnimationFrame(settle);
}

// After the administrator's script, else before the request's details, else in the corner.
function settle() {
  state.frame = null;
  if (!ownPlace?.isConnected) ownPlace = null;
  const place = ownPlace || findDetails();
  if (place ? isBeside(place) : host.parentNode === document.body) return;
  const focused = root.activeElement;
  if (ownPlace) place.after(host);
  else if (place) place.before(host);
  else document.body.append(host);
  const isOpaque = getComputedStyle(document.body).backgroundColor.startsWith('rgb(');
  host.className = place ? '' : isOpaque ? 'floating themed' : 'floating';
  render();
  focused?.focus();
}

// Another connection's button may stand between.
function isBeside(place) {
  let node = place;
  do node = ownPlace ? node.nextSibling : node.previousSibling;
  while (node !== host && node?.localName === host.localName);
  return node === host;
}

// Themes share elements, not class names. What stands in a comment does not count.
function findDetails() {
  const all = [...document.querySelectorAll('main dl, main aside > *, main ~ aside > *')];
  const found = all.filter((each) => each.localName !== host.localName && !each.closest('li, article, nav'));
  let place = found.find(isShown) ?? found[0];
  while (place && !isShown(place)) place = place.parentElement;
  return place?.matches('main, body') ? null : place;
}

// Not folded up: it is drawn, and nothing around it cuts it off.
function isShown(each) {
  const { top } = each.getBoundingClientRect();
  let around = each;
  while ((around = around.parentElement)) {
    if (/hidden|clip/.test(getComputedStyle(around).overflowY) && top >= around.getBoundingClientRect().bottom) return false;
  }
  return each.getClientRects().length > 0;
}

async function load() {
  const isQuiet = state.phase === 'nobody';
  if (!isQuiet) enter('checking');
  try {
    const [offer, answer] = await Promise.all([getOffer().catch(() => pause(2000).then(getOffer)), ask(request).catch(() => ({}))]);
    select.replaceChildren(...offer.options);
    host.lang = offer.locale;
    for (const each of [label, button, message]) each.dir = offer.dir;
    state.offer = offer;
    enter(firstPhase(offer, answer));
  } catch {
    enter(isQuiet ? 'nobody' : 'unavailable');
  }
}

async function getOffer() {
  const { data } = await ask(server(`offer?${new URLSearchParams({ connection, locale })}`), { credentials: 'omit' });
  return { ...data, options: data.issues.map((issue) => new Option(issue.name, issue.code)) };
}

function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

function firstPhase({ options, available }, { status, data }) {
  if (!options.length) return 'hidden';
  if (status === 401) return 'sign_in';
  if (status === 404) return 'not_yours';
  if (data?.request?.status === 'closed') return 'closed';
  return available === false ? 'nobody' : 'ready';
}

function lookAgain() {
  if (document.hidden) document.addEventListener('visibilitychange', lookAgain, { once: true });
  else load();
}

async function start() {
  // In the click itself, or browsers block it.
  const chat = window.open('', name);
  try {
    if (chat) chat.document.title = chat.document.body.textContent = text('opening');
  } catch {
    // Another site's page: the chat was opened before this page was loaded.
    return follow(chat);
  }
  enter('opening');
  const { url, phase = 'ready' } = await findChat().catch(() => ({ phase: 'failed' }));
  if (url && chat && !chat.closed) {
    chat.location.replace(url);
    return follow(chat);
  }
  if (url && !chat) location.assign(url);
  chat?.close();
  enter(phase);
}

// The chat keeps its opener, this page: else a browser does not let the page bring it to the front.
async function follow(chat) {
  state.chat = chat;
  enter('open');
  chat.focus();
  while (!chat.closed) await pause(1000);
  enter('ready');
}

// A chat's `url` by the first proof that is believed, or the `phase` that says why there is none.
async function findChat() {
  let phase = 'no_proof';
  for (const kind of state.offer.proofs) {
    const value = await getProof(kind).catch(({ cause }) => void (phase = cause ?? 'failed'));
    const answer = value && (await requestChat(kind, value));
    // Another proof may do.
    if (answer?.phase === 'wait') phase = 'wait';
    else if (answer) return answer;
  }
  return { phase };
}

async function getProof(kind) {
  const isToken = kind === 'help_center_token';
  const { status, data } = await ask(isToken ? '/api/v2/help_center/integration/token' : request);
  if (status === 401) throw new Error(status, { cause: 'sign_in' });
  if (status === 429 || status > 499) throw new Error(status);
  if (isToken) return data.token;
  const id = state.offer[kind === 'chat_link' ? 'link_field' : kind];
  return data.request?.custom_fields?.find((field) => String(field.id) === id)?.value;
}

async function requestChat(kind, value) {
  if (kind === 'chat_link') return value.startsWith(server('../c/')) && { url: `${value}?issue=${encodeURIComponent(select.value)}` };
  const { status, headers, data } = await ask(server('chats'), {
    method: 'POST',
    credentials: 'omit',
    headers: { 'Content-Type': 'application/json' },
    // A chat whose window was closed is not wanted any more.
    body: JSON.stringify({ connection, ticket, issue: select.value, proof: { kind, value }, again: state.chat?.closed && 'true' }),
  });
  if (status === 201) return { url: checked(data.url) };
  const problem = String(data.type).split(/[:/]/).pop();
  // Another proof may do.
  if (problem === 'proof-refused') return null;
  state.minutes = Math.ceil((data.retry_after ?? headers.get('Retry-After')) / 60) || 1;
  return { phase: REFUSALS.get(String(status)) ?? REFUSALS.get(problem) ?? 'failed' };
}

function checked(url) {
  const { href, origin } = new URL(url);
  if (/^https:|^http:\/\/(localhost|127\.[\d.]+|\[::1\])(:|$)/.test(origin)) return href;
  throw new Error(origin);
}

async function ask(url, options) {
  const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(20000) });
  answer.data = (await answer.json().catch(() => null)) ?? {};
  return answer;
}

function begin() {
  const style = new CSSStyleSheet();
  style.replaceSync(STYLE);
  root.adoptedStyleSheets = [style];
  root.append(label, button, message);
  label.append(caption, select);
  button.append(action);
  button.onclick = () => BUTTONS[state.phase][1]?.();
  message.role = 'status';
  message.tabIndex = -1;
  settle();
  load();
  const observer = new MutationObserver(settleSoon);
  observer.observe(document.body, { childList: true, subtree: true });
  setTimeout(() => observer.disconnect(), 10000);
  addEventListener('resize', settleSoon);
}

if (document.body) begin();
else addEventListener('DOMContentLoaded', begin);

})();
