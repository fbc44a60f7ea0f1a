import { readFileSync } from 'node:fs'
import { join } from 'node:path'

// `node scripts/release-notes.ts v0.2.0`: prints what CHANGELOG.md says about the version of this
// tag. Ends with 1 if the tag is not the version of the package, or the changelog is not ready.

/**
 * The part of the changelog about this version, without its heading. Throws if there is none, if it
 * is empty, or if its heading has no day.
 */
export function notesOf(changelog: string, version: string): string {
  const parts = changelog.split(/^## /m).slice(1)
  const part = parts.find((text) => text.startsWith(`${version} `))
  if (part === undefined) throw new Error(`CHANGELOG.md has no part '## ${version} (day)'`)
  const [heading = '', ...lines] = part.split('\n')
  if (!/^\S+ \(\d{4}-\d{2}-\d{2}\)$/.test(heading))
    throw new Error(`CHANGELOG.md: '## ${heading}' has no day, such as (2026-12-01)`)
  const text = lines.join('\n').trim()
  if (text === '') throw new Error(`CHANGELOG.md says nothing about ${version}`)
  return text
}

/** Throws unless the tag says the version of the package. */
export function checkTag(tag: string, version: string): void {
  if (tag !== `v${version}`)
    throw new Error(`the tag '${tag}' is not the version of package.json: expected 'v${version}'`)
}

if (import.meta.main) {
  const read = (name: string): string => readFileSync(join(import.meta.dirname, '..', name), 'utf8')
  const { version } = JSON.parse(read('package.json')) as { version: string }
  checkTag(process.argv[2] ?? '', version)
  process.stdout.write(`${notesOf(read('CHANGELOG.md'), version)}\n`)
}
