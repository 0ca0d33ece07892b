// What the extension's own pages need of the browser's extension interface, for the wasm module (src/browser.rs). Decides nothing.

const api = globalThis.browser ?? globalThis.chrome;

/** A policy's settings. Firefox refuses where there is no policy. */
export const managed = () => api.storage.managed.get(null).catch(() => ({}));

/** One transaction on the one object store that keeps keys: objects that cannot be read out, so `storage.local` cannot hold them. */
const keys = (mode, ask) =>
  new Promise((resolve, reject) => {
    const opening = indexedDB.open('deskbridge', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore('keys');
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction('keys', mode);
      const asked = ask(transaction.objectStore('keys'));
      transaction.oncomplete = () => {
        database.close();
        resolve(asked.result ?? null);
      };
      transaction.onabort = () => {
        database.close();
        reject(transaction.error);
      };
    };
  });

globalThis.deskbridge = {
  /** Everything the options page shows, as JSON. */
  async read() {
    const [local, policy, permissions, commands] = await Promise.all([
      api.storage.local.get(['stored', 'paired']),
      managed(),
      api.permissions.getAll(),
      api.commands?.getAll() ?? [],
    ]);
    const shortcut = commands.find((command) => command.name === 'open-panel')?.shortcut;
    return JSON.stringify({ ...local, managed: policy, allowed: permissions.origins, shortcut });
  },
  store: (name, json) =>
    JSON.parse(json) === null ? api.storage.local.remove(name) : api.storage.local.set({ [name]: JSON.parse(json) }),
  /** Null is an answer, too; a background that failed or died gives none. */
  async send(json) {
    const reply = await api.runtime.sendMessage(JSON.parse(json));
    if (reply === undefined || reply?.error) throw new Error(reply?.error ?? 'no answer');
    return JSON.stringify(reply);
  },
  keepKey: (slot, key) => keys('readwrite', (store) => (key === null ? store.delete(slot) : store.put(key, slot))),
  keptKey: (slot) => keys('readonly', (store) => store.get(slot)),
  allow: (pattern) => api.permissions.request({ origins: [pattern] }),
  disallow: (pattern) => api.permissions.remove({ origins: [pattern] }),
  // Only Firefox has a way there for extensions; Chromium lets its own page be opened by address.
  openShortcuts: () =>
    api.commands.openShortcutSettings?.() ?? api.tabs.create({ url: 'chrome://extensions/shortcuts' }),
  onChange(changed) {
    // What is remembered while the browser runs (`session`) is nobody's setting.
    api.storage.onChanged.addListener((_, area) => area !== 'session' && changed());
    // Firefox keeps them from a page in another site's frame, as the panel's is.
    api.permissions?.onAdded.addListener(() => changed());
    api.permissions?.onRemoved.addListener(() => changed());
  },
};
