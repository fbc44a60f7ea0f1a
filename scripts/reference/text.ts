const WIDTH = 100

/** Fills lines of at most 100 characters; a word that is longer stands alone. */
function filled(text: string, first: string, rest: string): string {
  const lines: string[] = []
  let line = first
  let begun = false
  for (const word of unbroken(text)) {
    if (begun && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = rest + word
    } else {
      line += begun ? ` ${word}` : word
    }
    begun = true
  }
  return [...lines, line].join('\n')
}

/** Words; what stands between backticks is one of them, with what touches it. */
const unbroken = (text: string): readonly string[] =>
  text.match(/^- (?:`[^`]*`|[^\s`])+|(?:`[^`]*`|[^\s`])+/g) ?? []

/**
 * The text of a docstring as Markdown: paragraphs and lists. `indent` stands before every line but
 * the first one.
 */
export function prose(text: string, indent = ''): string {
  return text
    .split(/\n{2,}|\n(?=- )/)
    .map((part, index) => {
      if (part.startsWith('```')) return `\n${part.replaceAll(/^(?!$)/gm, indent)}`
      const isItem = part.startsWith('- ')
      const flat = part.replaceAll(/\s+/g, ' ').trim()
      if (index === 0) return filled(flat, '', indent)
      const shown = filled(flat, indent, isItem ? `${indent}  ` : indent)
      return isItem ? shown : `\n${shown}`
    })
    .join('\n')
}

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n')

export const code = (text: string): string => (text === '' ? '' : `\`${text}\``)

/** Text that is no Markdown: what looks like an element of HTML would vanish. */
export const shown = (text: string): string => text.replaceAll('<', '\\<')
