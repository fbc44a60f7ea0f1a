import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { goldenFile, publicApi, root } from './public-api.ts'

// Writes down the public API as it is now. Read the difference before you commit it: every changed
// line is a change that users meet.
const api = publicApi()
mkdirSync(dirname(goldenFile), { recursive: true })
writeFileSync(goldenFile, api)
process.stdout.write(`${relative(root, goldenFile)}: ${api.split('\n').length} lines\n`)
