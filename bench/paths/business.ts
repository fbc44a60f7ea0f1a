/** The business row that every path writes. */
export const INSERT = 'insert into bench.business (text) values ($1)'
