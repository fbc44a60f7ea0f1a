import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { problem } from './problem.ts'
import { reply } from './reply.ts'

/** Where the build puts them, beside this code. */
const folder = new URL('../page/', import.meta.url)

const types: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
}

interface Asset {
  readonly text: string
  readonly tag: string
}

const read = new Map<string, Promise<Asset>>()

async function load(name: string): Promise<Asset> {
  const text = await readFile(new URL(name, folder), 'utf8')
  return { text, tag: `"${createHash('sha256').update(text).digest('base64url')}"` }
}

/** A file of the page; undefined: there is none of this name. */
export async function asset(name: string, request: Request): Promise<Response | undefined> {
  const type = Object.hasOwn(types, name) ? types[name] : undefined
  if (type === undefined) return undefined
  const loading = read.get(name) ?? load(name)
  read.set(name, loading)
  try {
    const { text, tag } = await loading
    const headers = { 'content-type': type, 'cache-control': 'no-cache', etag: tag }
    if (request.headers.get('if-none-match') === tag) return reply(304, null, headers)
    return reply(200, text, headers)
  } catch (cause) {
    read.delete(name)
    const text = 'The page is not in this build: npm run build makes it.'
    throw problem(500, 'no-page', text, cause)
  }
}
