using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Governance.ModelPages;

/// <summary>
/// Keeps a folder of model pages like the registry. It follows the audit trail, in which every change of the registry's state leaves a row
/// in the same transaction, so that no change can be forgotten; a start begins with all pages.
/// </summary>
internal sealed class ModelPagePublisher(ModelPageComposer pages, AuditTrail trail, GovernanceOptions options, TimeProvider clock, ILogger<ModelPagePublisher> logger) : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);

    // What changed since the last page was written; kept when writing fails, and tried again.
    private readonly HashSet<string> _changed = new(StringComparer.Ordinal);
    private readonly List<string> _reasons = [];

    // Written and not committed yet: a commit fails while someone else's git holds the checkout's lock.
    private readonly HashSet<string> _uncommitted = new(StringComparer.Ordinal);
    private bool _all = true;
    private long _seen;
    private bool _failing;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.PagesDirectory is not { } directory)
        {
            return;
        }

        using var timer = new PeriodicTimer(Tick, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                Follow();
                if (_all || _changed.Count > 0)
                {
                    await WriteAsync(directory, stoppingToken);
                    (_all, _failing) = (false, false);
                    _changed.Clear();
                    _reasons.Clear();
                }
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                if (!_failing)
                {
                    logger.LogError(e, "The model pages in {Folder} could not be written; tried again every {Tick}", directory, Tick);
                }

                _failing = true; // Said once, not at every tick.
            }
        }
    }

    private void Follow()
    {
        if (_seen == 0)
        {
            _seen = trail.Position().Seq; // Before the pages are read: what comes after is seen as a change.
        }

        while (trail.After(_seen) is { Count: > 0 } rows)
        {
            foreach (var row in rows)
            {
                Take(row);
            }

            _seen = rows[^1].Seq;
        }
    }

    private void Take(AuditEvent row)
    {
        var model = row.SubjectKind switch
        {
            NodeKinds.Model => row.SubjectId,
            NodeKinds.ModelVersion when row.SubjectId.LastIndexOf('@') is > 0 and var at => row.SubjectId[..at],
            _ => null,
        };
        if (model is not null)
        {
            _changed.Add(model);
            _reasons.Add($"{model}: {row.Action} by {row.Actor}");
        }
    }

    private async Task WriteAsync(string directory, CancellationToken cancellationToken)
    {
        var (folder, address, models) = (new PageFolder(directory), pages.Address, pages.Models());
        foreach (var model in models.Where(model => _all || _changed.Contains(model)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            Write(PageFolder.FileOf(model), pages.Page(model, address));
        }

        _uncommitted.UnionWith(folder.MarkRemoved([.. models.Select(PageFolder.FileOf)]));
        Write(PageFolder.IndexFile, pages.Index(address));
        if (_uncommitted.Count > 0 && options.CommitPages)
        {
            var git = new GitCheckout(Path.GetFullPath(directory));
            if (!await git.ExistsAsync(cancellationToken))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{directory}' is in no git checkout, or there is no git; run git init there, or leave --docs-git out.");
            }

            await git.CommitAsync([.. _uncommitted], Message(), cancellationToken);
        }

        _uncommitted.Clear();

        // At the start an unchanged file may be one that the server before wrote and could not commit.
        void Write(string file, string content)
        {
            if (folder.Write(file, content) || _all)
            {
                _uncommitted.Add(file);
            }
        }
    }

    private string Message() => _reasons.Count switch
    {
        0 => "Model pages as of the registry's start",
        1 => $"Model page of {_reasons[0]}",
        _ => $"Model pages: {_reasons.Count} changes\n\n{string.Join('\n', _reasons)}",
    };
}
