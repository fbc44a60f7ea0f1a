// Builds the page of the dashboard: node build.ts FOLDER
import { resolve } from 'node:path'
import { build } from 'vite'

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: node build.ts FOLDER')
await build({
  root: import.meta.dirname,
  base: './',
  configFile: false,
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: resolve(folder),
    emptyOutDir: true,
    target: 'es2022',
    // Colours for both themes are told by light-dark().
    cssTarget: 'chrome123',
    modulePreload: { polyfill: false },
    // The same names each time: the page is answered by name, and is small.
    rolldownOptions: { output: { entryFileNames: 'app.js', assetFileNames: 'app.[ext]' } },
  },
})
