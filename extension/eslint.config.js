// The JavaScript's lints: what eslint's authors recommend. The extension has its own globals, the server's script runs in
// Help Center pages and has the browser's only.
const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  js.configs.recommended,
  {
    files: ['**/assets/**/*.js'],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error' },
  },
  {
    files: ['**/assets/**/*.js'],
    ignores: ['server/**'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: { ...globals.browser, ...globals.webextensions } },
  },
  { files: ['**/assets/content.js', '**/assets/content/*.js'], languageOptions: { sourceType: 'script' } },
  { files: ['server/**/*.js'], languageOptions: { ecmaVersion: 2020, sourceType: 'script', globals: globals.browser } },
];
