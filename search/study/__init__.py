"""One study from plan to verdict. It asks the optimizer what to try next, and a crew of workers to evaluate it.

plan.py, estimate.py           its size and cost, told before it begins; hardware.py what the machine has to do with it
coordinator.py                 the loop over trials; ladder.py what a trial does next, racing.py which goes on to
                               more prompts; fewer_steps.py a cheaper first rung;
                               measured_first.py what comes before all trials
running.py, pieces.py          a trial while it runs; its task split by prompts among the workers;
                               shared_crew.py among the machines that share a study
trials.py, queue.py            who comes next; next_scale.py FreeU off at another guidance scale
ledger.py, recovery.py         what ended, written and told; what the dead left, put right
budget.py                      when the search ends early
confirmation.py, held_out.py   the finalists again, on held-out prompts; looks.py when, and within which error
conclusion.py                  from the finished search to the result: calls those above and below
verdict.py, rival.py           what is said of it: first of the rival, the tuned baseline that is hardest to beat
                               (chosen in optimizer/pareto_front.py); second_opinion.py of the judges
result.py, printed_result.py   result.json's content (session.py writes it); the same in the terminal;
                               reproduce.py how to get it again
"""
