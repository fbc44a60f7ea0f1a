/**
 * Control characters, the invisible ones that reorder or join text, line separators, lone
 * surrogates.
 */
export const UNSAFE: RegExp = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

function escaped(char: string): string {
  return char === '\t' ? ' ' : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`
}

/**
 * One line that a terminal shows as it is: nothing in it moves the cursor, changes colours or
 * begins a new line.
 */
export function oneLine(text: string): string {
  return text.replace(UNSAFE, escaped)
}
