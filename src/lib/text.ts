/** Control characters (Cc: C0, DEL and C1), and the ones that reorder or break text. */
const CONTROL = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/u
const ALL_CONTROL = new RegExp(CONTROL, 'gu')

/** Nearly every name and header is of this kind, which is far cheaper to find. */
const PLAIN = /^[ -~]*$/

/** Printable ASCII only, and so as many bytes as characters. */
export function isPlain(text: string): boolean {
  return PLAIN.test(text)
}

export function hasControlCharacters(text: string): boolean {
  return !isPlain(text) && CONTROL.test(text)
}

/** Length in bytes as UTF-8. */
export function byteLength(text: string): number {
  return Buffer.byteLength(text, 'utf8')
}

/**
 * Safe to print in an error or on a terminal: escapes what is not printable, and cuts at `longest`
 * characters.
 */
export function printable(text: string, longest = 100): string {
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text
  return JSON.stringify(cut)
    .slice(1, -1)
    .replace(ALL_CONTROL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/**
 * The package to install for a module such as `mysql2/promise`. npm takes that name itself for a
 * repository of GitHub, and installs what is there.
 */
export function packageName(module: string): string {
  const parts = module.startsWith('@') ? 2 : 1
  return module.split('/').slice(0, parts).join('/')
}
