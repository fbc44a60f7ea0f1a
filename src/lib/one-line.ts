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

/** With escapes of JSON, four digits for each unit. */
function escapedForJson(text: string): string {
  return text.replace(UNSAFE, (char) =>
    char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

/** Text of others, which may be lines of JSON: everything but line breaks is made safe. */
export function safeLines(text: string): string {
  return text.split('\n').map(escapedForJson).join('\n')
}
