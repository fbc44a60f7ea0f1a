import type { VNode } from 'preact'

/** As `UNSAFE` of the library: controls, what reorders or joins text, lone surrogates. */
const ODD = /([\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}])/u

const named = (char: string): string =>
  `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`

/**
 * Text of messages: what does not show itself is shown by its number, and nothing in it turns the
 * text around it.
 */
export function Safe({ text, lines = false }: { text: string; lines?: boolean }): VNode {
  const parts = text.split(ODD)
  return (
    <bdi>
      {parts.map((part, index) => {
        if (index % 2 === 0) return part
        if (lines && (part === '\n' || part === '\t')) return part
        return (
          <span class="odd" title="a character that does not show itself">
            {named(part)}
          </span>
        )
      })}
    </bdi>
  )
}
